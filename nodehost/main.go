package nodehost

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/statemachines"
)

// Main is the program of a host with these apps: it reads flags, environment and
// file, answers `config check`, `config show`, `version` and `help`, or serves
// until SIGTERM or SIGINT. It returns the exit code: 2 for a wrong configuration, 1
// for a host that could not start or go on. A second signal ends the process at once.
func Main(apps ...statemachines.App) int {
	args, env := os.Args[1:], os.Environ()
	if code, done := config.NodeHostCommand(args, env, os.Stdout, os.Stderr); done {
		return code
	}
	cfg, err := config.LoadNodeHost(args, env)
	if err != nil {
		return config.Fail(os.Stderr, "nodehost", err)
	}
	log, err := serve.NewLogger(os.Stderr, cfg.Log)
	if err != nil {
		return config.Fail(os.Stderr, "nodehost", err)
	}
	registry, err := statemachines.NewRegistry(apps...)
	if err != nil {
		return config.Fail(os.Stderr, "nodehost", err)
	}
	serve.SpareProcessor()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // lets the second signal through
	if err := Run(ctx, cfg, registry, log); err != nil {
		log.Error("nodehost stopped", "err", err)
		return config.ExitFailed
	}
	return config.ExitOK
}
