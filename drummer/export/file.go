package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
)

// format names the form of the file, with its version.
const format = "drumline-fleet-export/1"

// file is what is written, as JSON.
type file struct {
	Format string `json:"format"`
	// SHA256 is that of the fleet, however the JSON is laid out.
	SHA256 string          `json:"sha256"`
	Fleet  json.RawMessage `json:"fleet"`
}

// Write makes a file of an export: JSON that people can read.
func Write(e *drummerpb.FleetExport) ([]byte, error) {
	fleet, err := protojson.Marshal(e)
	if err != nil {
		return nil, err
	}
	sum, err := sum(e)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(file{format, sum, fleet}, "", " ")
	return append(data, '\n'), err
}

// Read reads a file of Write. Its errors say what is wrong with one that is foreign,
// damaged or edited.
func Read(data []byte) (*Fleet, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	switch err := d.Decode(&f); {
	case err != nil:
		return nil, fmt.Errorf("it is no export of a fleet (make one with drummer-cmd record export), or is damaged: %w", err)
	case f.Format != format:
		return nil, fmt.Errorf("its format is %q and this program reads %s: make it anew with drummer-cmd record export of this version", f.Format, format)
	case d.More():
		return nil, errors.New("something follows its end")
	}
	e := &drummerpb.FleetExport{}
	if err := protojson.Unmarshal(f.Fleet, e); err != nil {
		return nil, fmt.Errorf("it is damaged, or of a newer version: %w", err)
	}
	sum, err := sum(e)
	if err != nil {
		return nil, err
	}
	if sum != f.SHA256 {
		return nil, errors.New("its content does not match its sha256: it is damaged or was edited")
	}
	fleet, err := Check(e)
	if err != nil {
		return nil, fmt.Errorf("it holds no fleet that can be: %w", err)
	}
	return fleet, nil
}

func sum(e *drummerpb.FleetExport) (string, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
