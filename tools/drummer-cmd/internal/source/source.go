// Package source reads the files that commands are about, and standard input in their
// place: whole, but never more than a command can use, so that a device or a stream without
// an end is an error and not all memory.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Most is what commands read of a file, in bytes, far above what anything written by hand has.
const Most = 16 << 20

// Read reads the file of that name, or all of in if the name is -. The error names the file.
func Read(name string, in io.Reader, most int64) ([]byte, error) {
	if name == "-" {
		return all("standard input", in, most)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fault(name, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	return all(name, f, most)
}

func all(name string, in io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, fault(name, err)
	case int64(len(data)) > most:
		return nil, fmt.Errorf("read %s: it has more than %d bytes, at most so many are read", name, most)
	}
	return data, nil
}

// fault says what is wrong with a file, naming it once.
func fault(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("read %s: %w", name, err)
}
