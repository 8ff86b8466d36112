package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/drumline/drumline/config"
	"github.com/drumline/drumline/config/apps"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/masters"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/noun"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/rescue"
)

// app is the tree of commands.
func (t *tool) app() *cli.App {
	return &cli.App{
		Name: program, HelpName: program, Usage: "operate a Drumline cluster",
		Flags:           globalFlags(),
		Commands:        t.commands(),
		Reader:          t.in,
		Writer:          t.out,
		ErrWriter:       t.err,
		HideHelpCommand: true,
		HideVersion:     true,
		Version:         config.Version(),
		OnUsageError:    onUsageError,
		ExitErrHandler:  func(*cli.Context, error) {}, // run prints errors and sets the code

		CustomAppHelpTemplate: appHelp,
	}
}

func (t *tool) commands() []*cli.Command {
	return []*cli.Command{
		t.command(t.launchVerb()),
		t.noun("groups", "list, show, create, change, delete, save and recover groups",
			slices.Concat([]verb{t.groupsList(), t.groupsShow(), t.groupsCreate(), t.groupsDelete()}, roomVerbs(t.steering().Groups()), t.groupVerbs())...),
		t.noun("hosts", "list the hosts that run replicas, and say what is wanted of them",
			append([]verb{t.hostsList(), t.hostsShow()}, roomVerbs(t.steering().Hosts())...)...),
		t.noun("operations", "list, cancel and pause what the supervisor does", roomVerbs(t.steering().Operations())...),
		t.noun("brake", "what keeps everything where it is when many hosts vanish", roomVerbs([]noun.Verb{t.steering().ReleaseBrake()})...),
		t.command(roomVerbs([]noun.Verb{t.steering().Plan()})[0]),
		t.noun("servers", "list drummers and nodehosts, and change who the drummers are", roomVerbs((&masters.Noun{Console: t.console()}).Verbs())...),
		t.noun("record", "save the fleet record, and make one for new drummers", roomVerbs((&rescue.Noun{Console: t.console()}).RecordVerbs())...),
		t.command(t.statusVerb()),
		t.command(t.eventsVerb()),
		t.command(t.explainVerb()),
		t.command(t.proposeVerb()),
		t.command(t.readVerb()),
		t.noun("kv", "read and change groups of app kv", t.kvVerbs()...),
		under(t.noun("capacity", "share capacity among clients", append(t.capacityVerbs(), t.capacityReplay(), t.capacitySimulate())...),
			t.configNoun("capacity", apps.Capacity)),
		under(t.noun("sequence", "take numbers of sequences, describe and change them", t.sequenceVerbs()...), t.configNoun("sequence", sequenceSettings())),
		t.command(t.simulateVerb()),
		under(t.noun("counter", "count, and show values, windows and rates", t.counterVerbs()...), t.configNoun("counter", counterSettings())),
		t.command(t.completionVerb()),
		t.command(t.versionVerb()),
		t.command(t.completeVerb()),
		t.command(t.referenceVerb()),
	}
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "servers", Aliases: []string{"s"}, EnvVars: []string{"DRUMMER_SERVERS"}, Value: defaultServer,
			Usage: "`ADDRESSES` of drummers or nodehosts, comma-separated; one that answers is enough",
		},
		&cli.StringFlag{Name: "ca", EnvVars: []string{"DRUMMER_CMD_CA"}, Usage: "`FILE` of the CA that servers must have a certificate of"},
		&cli.StringFlag{Name: "cert", EnvVars: []string{"DRUMMER_CMD_CERT"}, Usage: "`FILE` of your certificate"},
		&cli.StringFlag{Name: "key", EnvVars: []string{"DRUMMER_CMD_KEY"}, Usage: "`FILE` of your certificate's key"},
		&cli.StringFlag{Name: "server-name", EnvVars: []string{"DRUMMER_CMD_SERVER_NAME"}, Usage: "`NAME` that servers' certificates must carry"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT` of the data: table, json or yaml"},
		&cli.DurationFlag{Name: "watch", Aliases: []string{"w"}, DefaultText: "off", Usage: "show again every `INTERVAL`, 2s if none is given (--watch=5s)"},
		&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "give up after `DURATION`; commands that wait for an end take 5m unless told"},
		toggle("no-color", "no colours (or set NO_COLOR)"),
		toggle("no-input", "never ask, fail instead"),
		toggle("yes", "take every question as confirmed", "y"),
	}
}

// toggle is a flag without a value.
func toggle(name, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, DisableDefaultText: true}
}
