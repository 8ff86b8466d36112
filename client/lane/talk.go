package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// errGarbled ends a stream whose other side breaks the rules.
var errGarbled = errors.New("the host answered what it was not asked")

// talk is one stream. The Lane's mutex guards what has no other word.
type talk struct {
	l    *Lane
	wake chan struct{} // holds a token when there may be something to write
	life context.Context
	stop context.CancelFunc

	// encoding is held while a frame is made of the callers' bytes.
	encoding sync.Mutex

	lots    map[uint64]*lot // sent, or about to be, and not answered
	open    map[key]*lot    // of the frame in the making
	last    uint64          // id of the newest lot
	cancels []*hostpb.Cancel
	ended   bool // no calls are written any more
	useful  bool // it has answered something
}

// begin opens a stream; mu is held.
func (l *Lane) begin() {
	life, stop := context.WithCancel(context.Background())
	t := &talk{l: l, wake: make(chan struct{}, 1), life: life, stop: stop, lots: map[uint64]*lot{}, open: map[key]*lot{}}
	l.talk = t
	l.running.Go(t.run)
	rouse(t.wake)
}

// run opens the stream and writes until it ends.
func (t *talk) run() {
	defer t.stop()
	stream, err := hostpb.NewGroupsClient(t.l.conn).Stream(t.life)
	if err != nil {
		t.fail(err)
		return
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer t.stop()
	reading.Go(func() { t.read(stream) })
	for {
		select {
		case <-t.wake:
		case <-t.life.Done():
			return
		}
		// Callers that have just got their answers come with the next call: a moment
		// of patience lets them share the frame.
		runtime.Gosched()
		for t.write(stream) {
		}
	}
}

// write sends one frame and tells whether there may be more to send.
func (t *talk) write(stream hostpb.Groups_StreamClient) bool {
	msg, more, err := t.frame(stream)
	if msg == nil && err == nil {
		return more
	}
	if err == nil {
		err = stream.SendMsg(msg)
	}
	if err != nil && !errors.Is(err, io.EOF) { // the reader has the reason for EOF
		t.fail(err)
	}
	return err == nil && more
}

// frame makes a frame of what waits; nil if that is nothing.
func (t *talk) frame(stream grpc.ClientStream) (msg *grpc.PreparedMsg, more bool, err error) {
	t.encoding.Lock()
	defer t.encoding.Unlock()
	req, more := t.gather()
	if req == nil {
		return nil, more, nil
	}
	msg = &grpc.PreparedMsg{}
	if err = msg.Encode(stream, req); err != nil {
		return nil, false, fmt.Errorf("encode a frame: %w", err)
	}
	return msg, more, nil
}

// gather takes what waits and fits in a frame.
func (t *talk) gather() (req *hostpb.StreamRequest, more bool) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if t.ended {
		return nil, false
	}
	taken := t.l.take()
	req = &hostpb.StreamRequest{Cancels: t.cancels}
	t.cancels = nil
	for _, x := range t.sort(taken, time.Now()) {
		req.Lots = append(req.Lots, x.wire)
		x.wire = nil // the callers' bytes are not kept
	}
	t.l.giveBack(taken)
	more = len(t.l.waiting) > 0
	if len(req.GetLots()) == 0 && len(req.GetCancels()) == 0 {
		return nil, more
	}
	return req, more
}

// read takes answers until the stream ends.
func (t *talk) read(stream hostpb.Groups_StreamClient) {
	var woken []*call
	for {
		resp, err := stream.Recv()
		if err == nil {
			woken, err = t.take(resp, woken[:0])
			for i, c := range woken {
				c.done <- struct{}{}
				woken[i] = nil
			}
		}
		if err != nil {
			t.fail(err)
			return
		}
	}
}

// take hands out a frame's answers and returns the calls that are over by them.
func (t *talk) take(resp *hostpb.StreamResponse, woken []*call) ([]*call, error) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	t.useful = t.useful || len(resp.GetAnswers()) > 0
	for _, a := range resp.GetAnswers() {
		x := t.lots[a.GetLot()]
		if x == nil || !x.fits(a) {
			return woken, errGarbled
		}
		if woken = x.deliver(a, woken); x.open == 0 {
			delete(t.lots, x.id)
		}
	}
	if resp.GetEnd() == nil {
		return woken, nil
	}
	return t.retire(resp.GetEnd().GetLast(), woken), nil
}

// fits tells whether the answers are to items that wait for them.
func (x *lot) fits(a *hostpb.Answers) bool {
	end := uint64(a.GetFirst()) + uint64(len(a.GetData()))
	if end > uint64(len(x.calls)) || len(a.GetValues()) != 0 && len(a.GetValues()) != len(a.GetData()) {
		return false
	}
	for _, f := range a.GetFaults() {
		if int(f.GetItem()) >= len(a.GetData()) || f.GetFault() == nil {
			return false
		}
	}
	for _, c := range x.calls[a.GetFirst():end] {
		if c == nil {
			return false
		}
	}
	return !a.GetFull() || x.calls[0] != nil || a.GetFirst() > 0
}

// deliver hands out answers that fit.
func (x *lot) deliver(a *hostpb.Answers, woken []*call) []*call {
	first := int(a.GetFirst())
	for _, f := range a.GetFaults() {
		at := first + int(f.GetItem())
		c := x.calls[at]
		c.answers[at-c.first].Fault = f.GetFault()
	}
	for i, data := range a.GetData() {
		at := first + i
		c := x.calls[at]
		x.calls[at] = nil
		answer := &c.answers[at-c.first]
		answer.Data = data
		if len(a.GetValues()) > 0 {
			answer.Value = a.GetValues()[i]
		}
		x.open--
		c.open--
		if a.GetLeader() != nil {
			c.where = a.GetLeader()
		}
		if c.open == 0 && c.finish(nil) {
			woken = append(woken, c)
		}
	}
	if a.GetFull() {
		woken = x.fill(first+len(a.GetData()), woken)
	}
	return woken
}

// fill ends the lot at an item: there is no room for it and those behind it.
func (x *lot) fill(from int, woken []*call) []*call {
	for _, c := range x.calls[from:] {
		if c == nil || c.over {
			continue
		}
		x.open -= c.open
		c.answers = c.answers[:max(from-c.first, 0)]
		if c.finish(nil) {
			woken = append(woken, c)
		}
	}
	return woken
}

// retire takes leave of a host that ends the stream: what it has not taken is lost
// unsent, and what waits goes to a stream of its own; mu is held.
func (t *talk) retire(last uint64, woken []*call) []*call {
	t.ended = true
	for id, x := range t.lots {
		if id > last {
			woken = x.lose(&Lost{Err: status.Error(codes.Unavailable, "the host is stopping")}, woken)
			delete(t.lots, id)
		}
	}
	if t.l.talk != t {
		return woken
	}
	t.l.talk = nil
	if len(t.l.waiting) == 0 {
		return woken
	}
	if t.useful && !t.l.closed { // else a host that ends each stream at once would be asked for ever
		t.l.begin()
		return woken
	}
	return t.l.drop(&Lost{Err: status.Error(codes.Unavailable, "the host is stopping")}, woken)
}

// lose ends what is left of a lot.
func (x *lot) lose(err *Lost, woken []*call) []*call {
	for _, c := range x.calls {
		if c != nil && !c.over && c.finish(err) {
			woken = append(woken, c)
		}
	}
	return woken
}

// drop ends everything that waits; mu is held.
func (l *Lane) drop(err *Lost, woken []*call) []*call {
	for _, c := range l.waiting {
		if !c.over && c.finish(err) {
			woken = append(woken, c)
		}
	}
	l.waiting, l.left = nil, 0
	return woken
}

// fail ends the stream: what was sent is lost, what waits was never sent.
func (t *talk) fail(err error) {
	sent, unsent := lostTo(err)
	t.l.mu.Lock()
	var woken []*call
	for id, x := range t.lots {
		woken = x.lose(sent, woken)
		delete(t.lots, id)
	}
	t.ended = true
	if t.l.talk == t {
		t.l.talk = nil
		woken = t.l.drop(unsent, woken)
	}
	t.l.mu.Unlock()
	t.stop()
	for _, c := range woken {
		c.done <- struct{}{}
	}
}

// lostTo returns the errors of what was sent and of what was not. A host that has no
// such stream, or lets us have none, has taken nothing.
func lostTo(err error) (sent, unsent *Lost) {
	code := status.Code(err)
	refused := code == codes.Unimplemented || code == codes.PermissionDenied || code == codes.Unauthenticated
	sent = &Lost{Sent: !refused, Unsupported: code == codes.Unimplemented, Err: err}
	unsent = &Lost{Unsupported: sent.Unsupported, Err: err}
	if errors.Is(err, io.EOF) {
		sent.Err = status.Error(codes.Unavailable, "the host ended the stream")
		unsent.Err = sent.Err
	}
	return sent, unsent
}
