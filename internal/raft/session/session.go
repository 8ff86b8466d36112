// Package session is a client session as a caller holds it and as dragonboat has it, and
// what dragonboat answers to its entries. Package raft proposes them.
package session

import (
	"context"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/refusal"
	"github.com/drumline/drumline/statemachines"
)

// Session is a client session of a group: proposals under one are applied exactly
// once, however often they are retried with the same Series.
type Session struct {
	Group       ids.Group
	Client      uint64
	Series      uint64
	RespondedTo uint64
}

// Check refuses numbers that dragonboat would panic on, or never answer.
func (s Session) Check() error {
	switch {
	case s.Client == client.NotSessionManagedClientID:
		return fault.New(fault.Invalid, "session without a client number: open one first")
	case s.Series == client.NoOPSeriesID || s.Series >= client.SeriesIDForRegister:
		return fault.New(fault.Invalid, "session series %d: use 1 and up", s.Series)
	case s.RespondedTo >= s.Series:
		return fault.New(fault.Invalid, "session series %d was answered already, by its responded-to of %d", s.Series, s.RespondedTo)
	}
	return nil
}

// Dragonboat is the session as dragonboat has it.
func (s Session) Dragonboat() *client.Session {
	return &client.Session{ClusterID: uint64(s.Group), ClientID: s.Client, SeriesID: s.Series, RespondedTo: s.RespondedTo}
}

// Verdict waits for dragonboat's answer; nil, nil means that it was dropped
// before it came into the log.
func Verdict(ctx context.Context, name string, rs *dragonboat.RequestState) (*dragonboat.RequestResult, error) {
	select {
	case res := <-rs.AppliedC():
		rs.Release()
		switch {
		case res.Completed():
			return &res, nil
		case res.Dropped():
			return nil, nil //nolint:nilnil // the caller proposes again
		case res.Rejected():
			return nil, fault.New(fault.SessionGone, "the session of group %s was closed, or evicted by newer ones: open another", name).InGroup(name)
		}
	case <-ctx.Done():
	}
	return nil, fault.New(fault.UnknownOutcome, "group %s did not answer in time: the command may or may not be applied; repeat it in the same session", name).InGroup(name)
}

// Result takes the result of a session's command apart.
func Result(name string, res *dragonboat.RequestResult) (statemachines.Result, error) {
	out := res.GetResult()
	if len(out.Data) == 0 {
		return statemachines.Result{}, refusal.Code(name, machine.CodeBad)
	}
	if said := machine.Code(out.Data[0]); said != machine.CodeOK {
		return statemachines.Result{}, refusal.Code(name, said)
	}
	result := statemachines.Result{Value: out.Value}
	if len(out.Data) > 1 {
		// The session keeps these bytes for a repetition.
		result.Data = append([]byte(nil), out.Data[1:]...)
	}
	return result, nil
}
