package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkPatience bounds the judgement of one history; one that takes longer has failed.
const checkPatience = 20 * time.Second

// judge checks one history against its app's model; what it finds wrong is drawn into dir when dir is not empty.
func judge(p *Part, m porcupine.Model, dir string) error {
	result, info := porcupine.CheckOperationsVerbose(m, p.operations, checkPatience)
	err := p.verdict(result)
	if err == nil {
		return nil
	}
	if dir == "" {
		return err
	}
	path := filepath.Join(dir, "history-"+strings.ReplaceAll(p.Group+"-"+p.Key, "/", "_")+".html")
	f, e := os.Create(path)
	if e != nil {
		return fmt.Errorf("%w (drawing it: %w)", err, e)
	}
	defer func() { _ = f.Close() }() // the drawing only helps a person
	if e := porcupine.Visualize(m, info, f); e != nil {
		return fmt.Errorf("%w (drawing it: %w)", err, e)
	}
	return fmt.Errorf("%w; drawn in %s", err, path)
}

// verdict is what the checker's result means: a history that could not be judged proves
// nothing, and so it has failed.
func (p *Part) verdict(result porcupine.CheckResult) error {
	says := "is not linearizable"
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		says = fmt.Sprintf("could not be judged in %s", checkPatience)
	case porcupine.Illegal:
	}
	return fmt.Errorf("history of %s %s (%d operations, %d unknown) %s", p.Group, p.Key, len(p.operations), p.unknown, says)
}
