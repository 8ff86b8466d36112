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

// register is the sequential behaviour of one key: a read returns the last write.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, in, out any) (bool, any) {
			if i := in.(input); i.write {
				return true, i.value
			}
			return out.(string) == state.(string), state
		},
		DescribeOperation: func(in, out any) string {
			if i := in.(input); i.write {
				return "put " + i.value
			}
			return "get " + out.(string)
		},
	}
}

// judge checks one history; what it finds wrong is drawn into dir when dir is not empty.
func judge(p *Part, dir string) error {
	result, info := porcupine.CheckOperationsVerbose(register(), p.operations, checkPatience)
	if result == porcupine.Ok {
		return nil
	}
	verdict := "is not linearizable"
	if result == porcupine.Unknown {
		verdict = fmt.Sprintf("could not be judged in %s", checkPatience)
	}
	err := fmt.Errorf("history of %s %s (%d operations, %d unknown) %s", p.Group, p.Key, len(p.operations), p.unknown, verdict)
	if dir == "" {
		return err
	}
	path := filepath.Join(dir, "history-"+strings.ReplaceAll(p.Group+"-"+p.Key, "/", "_")+".html")
	f, e := os.Create(path)
	if e != nil {
		return fmt.Errorf("%w (drawing it: %w)", err, e)
	}
	defer func() { _ = f.Close() }() // the drawing only helps a person
	if e := porcupine.Visualize(register(), info, f); e != nil {
		return fmt.Errorf("%w (drawing it: %w)", err, e)
	}
	return fmt.Errorf("%w; drawn in %s", err, path)
}
