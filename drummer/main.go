package drummer

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/internal/serve"
)

// Main is the program: it reads flags, environment and file, answers `config
// check`, `config show`, `version` and `help`, or serves until SIGTERM or SIGINT.
// It returns the exit code. A second signal ends the process at once.
func Main() int {
	args, env := os.Args[1:], os.Environ()
	if code, done := config.DrummerCommand(args, env, os.Stdout, os.Stderr); done {
		return code
	}
	cfg, err := config.LoadDrummer(args, env)
	if err != nil {
		return config.Fail(os.Stderr, "drummer", err)
	}
	log, err := serve.NewLogger(os.Stderr, cfg.Log)
	if err != nil {
		return config.Fail(os.Stderr, "drummer", err)
	}
	serve.SpareProcessor()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := Run(ctx, cfg, log); err != nil {
		log.Error("drummer stopped", "err", err)
		return config.ExitFailed
	}
	return config.ExitOK
}
