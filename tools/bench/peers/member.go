package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/urfave/cli/v2"
	"go.etcd.io/etcd/server/v3/embed"
)

// memberCommand is the process of one etcd member. It ends when its standard input
// does, so that it never outlives the process that started it.
func memberCommand() *cli.Command {
	return &cli.Command{
		Name: "member", Hidden: true, ArgsUsage: "NAME DIR CLIENT-URL PEER-URL CLUSTER",
		Action: func(c *cli.Context) error {
			if c.NArg() != 5 {
				return fmt.Errorf("%w: bench-peers member %s", errUsage, c.Command.ArgsUsage)
			}
			conf, err := memberConfig(c.Args().Slice())
			if err != nil {
				return err
			}
			return serveMember(conf, os.Stdin)
		},
	}
}

// memberConfig is etcd's default configuration but for the places. It logs next to
// nothing: what goes wrong comes as an error, and at its end it would log many.
func memberConfig(args []string) (*embed.Config, error) {
	client, err := url.Parse(args[2])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	peer, err := url.Parse(args[3])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	conf := embed.NewConfig()
	conf.Name, conf.Dir, conf.InitialCluster, conf.LogLevel = args[0], args[1], args[4], "fatal"
	conf.ListenClientUrls, conf.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	conf.ListenPeerUrls, conf.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	return conf, nil
}

func serveMember(conf *embed.Config, until io.Reader) error {
	server, err := embed.StartEtcd(conf)
	if err != nil {
		return fmt.Errorf("start etcd member %s: %w", conf.Name, err)
	}
	defer server.Close()
	ended := make(chan error, 1)
	go func() { // ends with the process at the latest
		_, err := io.Copy(io.Discard, until)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case err := <-server.Err():
		return fmt.Errorf("etcd member %s: %w", conf.Name, err)
	case <-server.Server.StopNotify():
		return errors.New("etcd member " + conf.Name + " stopped by itself")
	}
}
