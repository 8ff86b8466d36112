package counters

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/statemachines/counter"
)

const (
	// defaultGroup is what the paths of the talk are about.
	defaultGroup = counter.Name + "/default"
	// patience bounds one request.
	patience = 10 * time.Second
	// maxBody bounds what is read of a request.
	maxBody = 64 << 10
	// keyHeader makes a request that is sent twice count once.
	keyHeader = "Idempotency-Key"
	plainText = "text/plain; charset=utf-8"
)

// web serves counters over HTTP.
type web struct {
	desk    *desk
	members func() []Member
	// plain is the content type of text, as a header has it; nobody changes it.
	plain []string
}

// page answers one request. An error becomes its status code.
type page func(ctx context.Context, w http.ResponseWriter, r *http.Request) error

// ServeHTTP bounds the request and turns an error into a status code and a line.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := parse(r)
	if err == nil {
		err = p(ctx, w, r)
	}
	if err != nil {
		text(w, codeOf(err), err.Error())
	}
}

// parse reads the parameters of a request, in its query or its form. What cannot be read, or
// is said twice, is no request: half of it must not be taken for the whole.
func parse(r *http.Request) error {
	err := r.ParseForm()
	if err == nil {
		err = r.ParseMultipartForm(maxBody) //nolint:gosec // ServeHTTP bounds the body
	}
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return &refused{http.StatusRequestEntityTooLarge, "the form is longer than 64 KiB"}
	case err != nil && !errors.Is(err, http.ErrNotMultipart):
		return fault.New(fault.Invalid, "the parameters cannot be read: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		if n := len(r.Form[name]); n > 1 {
			return fault.New(fault.Invalid, "%.40q is given %d times: once, in the query or in the form", name, n)
		}
	}
	if said := r.Header[keyHeader]; len(said) > 1 || len(said) == 1 && said[0] == "" {
		return fault.New(fault.Invalid, "%s is empty, or there are two: send one, that no other request has", keyHeader)
	}
	return nil
}

// paths are all of them, with their handlers.
func (w *web) paths() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /{$}":                        page(w.value),
		"GET /inc":                        http.HandlerFunc(w.hit),
		"POST /inc":                       page(w.inc),
		"GET /verbose":                    page(w.verbose),
		"GET /cluster":                    page(w.cluster),
		"GET /v1/counters/{name}":         page(w.get),
		"POST /v1/counters/{name}":        page(w.add),
		"DELETE /v1/counters/{name}":      page(w.remove),
		"POST /v1/counters/{name}/reset":  page(w.reset),
		"GET /v1/counters/{name}/windows": page(w.windows),
		"GET /v1/counters/{name}/rate":    page(w.rate),
		"GET /v1/counters/{name}/list":    page(w.list),
	}
}

// refused is an outcome that is not OK, with its status code.
type refused struct {
	code int
	text string
}

func (e *refused) Error() string { return e.text }

// refusal is the error of an outcome; nil for OK.
func refusal(r *counterpb.Result) error {
	code := http.StatusConflict
	switch r.GetOutcome() { //nolint:exhaustive // the others are conflicts with what is there
	case counterpb.Outcome_OUTCOME_OK:
		return nil
	case counterpb.Outcome_OUTCOME_NOT_FOUND:
		code = http.StatusNotFound
	case counterpb.Outcome_OUTCOME_ONLY_UP, counterpb.Outcome_OUTCOME_OVERFLOW:
		code = http.StatusUnprocessableEntity
	case counterpb.Outcome_OUTCOME_FULL:
		code = http.StatusInsufficientStorage
	}
	return &refused{code, r.GetDetail()}
}

func codeOf(err error) int {
	if r, ok := err.(*refused); ok { //nolint:errorlint // it is never wrapped
		return r.code
	}
	switch fault.ReasonOf(err) { //nolint:exhaustive // the others pass
	case fault.Invalid, fault.TooLarge:
		return http.StatusBadRequest
	case fault.GroupNotFound:
		return http.StatusNotFound
	case fault.Internal:
		return http.StatusInternalServerError
	case fault.UnknownOutcome, fault.Deadline:
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", plainText)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, line+"\n") // the client may have left
}

func number(w http.ResponseWriter, n int64) { text(w, http.StatusOK, strconv.FormatInt(n, 10)) }

// message answers with JSON, the names of whose fields are the proto file's.
func message(w http.ResponseWriter, m proto.Message) error {
	data, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "write the answer")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n')) //nolint:gosec // it is JSON and says so; the client may have left
	return nil
}

// value is the talk's /: the value of counter/default.
func (w *web) value(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	got, err := w.read(ctx, defaultGroup, "", r)
	if err != nil {
		return err
	}
	number(out, got.GetInfo().GetValue())
	return nil
}

// hit is inc for the request that nearly all are, GET /inc?amount=N and nothing else: it
// needs no form, no key and no timer of its own, which would be most of its cost.
func (w *web) hit(out http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead { // who only looks counts nothing
		out.Header().Set("Allow", "GET, POST")
		text(out, http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed))
		return
	}
	amount, bare := bareAmount(r)
	if !bare {
		page(w.inc).ServeHTTP(out, r)
		return
	}
	result, err := w.desk.count(r.Context(), defaultGroup, &counterpb.Add{Amount: amount})
	if err == nil {
		err = refusal(result)
	}
	if err != nil {
		text(out, codeOf(err), err.Error())
		return
	}
	out.Header()["Content-Type"] = w.plain
	_, _ = out.Write(append(strconv.AppendInt(make([]byte, 0, 24), result.GetValue(), 10), '\n')) // the client may have left
}

// bareAmount is the amount of a request that says nothing else.
func bareAmount(r *http.Request) (int64, bool) {
	said, bare := strings.CutPrefix(r.URL.RawQuery, "amount=")
	if !bare || r.Method != http.MethodGet || r.ContentLength != 0 || r.Header[keyHeader] != nil {
		return 0, false
	}
	amount, err := strconv.ParseInt(said, 10, 64)
	return amount, err == nil && amount != 0 && said[0] != '+' // a plus sign is a space in a query
}

// inc is the talk's /inc?amount=N: it answers the value after.
func (w *web) inc(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	amount, err := amountOf(r)
	if err != nil {
		return err
	}
	result, err := w.change(ctx, defaultGroup, r, &counterpb.Add{Amount: amount})
	if err != nil {
		return err
	}
	number(out, result.GetValue())
	return nil
}

// amountOf is the amount of a request, in its query or its form.
func amountOf(r *http.Request) (int64, error) {
	said := r.FormValue("amount")
	if said == "" {
		return 0, fault.New(fault.Invalid, "amount is missing: put ?amount=1 behind the path, or amount=1 into a form")
	}
	n, err := strconv.ParseInt(said, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "amount %.40q is no whole number between -2^63 and 2^63-1", said)
	}
	return n, nil
}

// change adds, once if the request says so.
func (w *web) change(ctx context.Context, group string, r *http.Request, a *counterpb.Add) (*counterpb.Result, error) {
	if said := r.Header.Get(keyHeader); said != "" {
		a.Once = keyOf(said)
	}
	wan, err := wanOf(r.FormValue("acks"))
	if err != nil {
		return nil, err
	}
	result, err := w.desk.add(ctx, group, a, wan)
	if err == nil {
		err = refusal(result)
	}
	return result, err
}

// wanOf reads acks=local or acks=wan:k.
func wanOf(said string) (uint32, error) {
	if said == "" || said == "local" {
		return 0, nil
	}
	k, is := strings.CutPrefix(said, "wan:")
	n, err := strconv.ParseUint(k, 10, 8)
	if !is || err != nil {
		return 0, fault.New(fault.Invalid, "acks %.40q is not known: use local, or wan:1 for one other region", said)
	}
	return uint32(n), nil
}

// readOf reads read=local, linearizable, global or exact.
func readOf(said string) (counterpb.Level, error) {
	level, known := counterpb.Level_value["LEVEL_"+strings.ToUpper(said)]
	if !known && said != "" {
		return 0, fault.New(fault.Invalid, "read %.40q is not known: use local, linearizable, global or exact", said)
	}
	return counterpb.Level(level), nil
}

// read reads a counter as the request wants it.
func (w *web) read(ctx context.Context, group, key string, r *http.Request) (*counterpb.GetResponse, error) {
	level, err := readOf(r.FormValue("read"))
	if err != nil {
		return nil, err
	}
	return w.desk.get(ctx, &counterpb.GetRequest{Group: group, Key: key, Level: level})
}

// keyOf is an idempotency key of any text. One that begins with Unix milliseconds and a
// hyphen says when it was made.
func keyOf(said string) *counterpb.Key {
	sum := sha256.Sum256([]byte(said))
	k := &counterpb.Key{High: binary.BigEndian.Uint64(sum[:8]), Low: binary.BigEndian.Uint64(sum[8:16])}
	if made, _, dated := strings.Cut(said, "-"); dated && len(made) == len("1700000000000") {
		k.MadeMs, _ = strconv.ParseUint(made, 10, 64) // 0 when it is no number
	}
	return k
}

// verbose is the talk's /verbose: what every region counted.
func (w *web) verbose(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	got, err := w.read(ctx, defaultGroup, "", r)
	if err != nil {
		return err
	}
	return message(out, got)
}

// cluster is the talk's /cluster: the hosts.
func (w *web) cluster(_ context.Context, out http.ResponseWriter, _ *http.Request) error {
	out.Header().Set("Content-Type", "application/json")
	members := w.members()
	if members == nil {
		members = []Member{}
	}
	_ = json.NewEncoder(out).Encode(members) // the client may have left
	return nil
}

// pathOf is the name of the counter's group; a path says no region, the host's own is meant.
func pathOf(r *http.Request) string { return counter.Name + "/" + r.PathValue("name") }

func (w *web) get(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	got, err := w.read(ctx, pathOf(r), r.FormValue("key"), r)
	if err != nil {
		return err
	}
	return found(out, got)
}

// finding is an answer about a counter that may not exist.
type finding interface {
	proto.Message
	GetFound() bool
}

// found answers what there is of a counter.
func found(out http.ResponseWriter, got finding) error {
	if !got.GetFound() {
		return &refused{http.StatusNotFound, "nothing was counted under that name"}
	}
	return message(out, got)
}

func (w *web) add(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	amount, err := amountOf(r)
	if err != nil {
		return err
	}
	result, err := w.change(ctx, pathOf(r), r, &counterpb.Add{Key: r.FormValue("key"), Amount: amount})
	if err != nil {
		return err
	}
	return message(out, result)
}

// simple is a change that answers its result.
func (w *web) simple(ctx context.Context, out http.ResponseWriter, r *http.Request, cmd *counterpb.Command) error {
	result, err := w.desk.change(ctx, pathOf(r), cmd)
	if err == nil {
		err = refusal(result)
	}
	if err != nil {
		return err
	}
	return message(out, result)
}

func (w *web) remove(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	return w.simple(ctx, out, r, &counterpb.Command{Op: &counterpb.Command_Delete{Delete: &counterpb.Delete{Key: r.FormValue("key")}}})
}

func (w *web) reset(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	return w.simple(ctx, out, r, &counterpb.Command{Op: &counterpb.Command_Reset_{Reset_: &counterpb.Reset{Key: r.FormValue("key")}}})
}

func (w *web) windows(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	resolution, err := resolutionOf(r.FormValue("resolution"))
	if err != nil {
		return err
	}
	got, err := w.desk.windows(ctx, pathOf(r), &counterpb.Windows{Key: r.FormValue("key"), Resolution: resolution})
	if err != nil {
		return err
	}
	return found(out, got)
}

// resolutionOf reads a word like minute; none means seconds.
func resolutionOf(word string) (counterpb.Resolution, error) {
	if word == "" {
		return counterpb.Resolution_RESOLUTION_SECOND, nil
	}
	r, known := counterpb.Resolution_value["RESOLUTION_"+strings.ToUpper(strings.ReplaceAll(word, "-", "_"))]
	if !known || r == 0 {
		return 0, fault.New(fault.Invalid, "resolution %.40q is not known: use second, ten-seconds, minute, hour or day", word)
	}
	return counterpb.Resolution(r), nil
}

func (w *web) rate(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	req := &counterpb.RateRequest{Group: pathOf(r), Key: r.FormValue("key")}
	if said := r.FormValue("over"); said != "" {
		over, err := time.ParseDuration(said)
		if err != nil || over < time.Second {
			return fault.New(fault.Invalid, "over %.40q is no duration of a second or more, like 1m", said)
		}
		req.OverMs = uint64(over.Milliseconds())
	}
	got, err := w.desk.rate(ctx, req)
	if err != nil {
		return err
	}
	return found(out, got)
}

func (w *web) list(ctx context.Context, out http.ResponseWriter, r *http.Request) error {
	list := &counterpb.List{Prefix: r.FormValue("prefix")}
	if after := r.FormValue("after"); after != "" {
		list.After = &after
	}
	if said := r.FormValue("limit"); said != "" {
		n, err := strconv.ParseUint(said, 10, 16)
		if err != nil || n == 0 {
			return fault.New(fault.Invalid, "limit %.40q is no whole number from 1 to %d", said, counter.MaxPage)
		}
		list.Limit = uint32(n)
	}
	a, err := w.desk.query(ctx, pathOf(r), &counterpb.Query{Op: &counterpb.Query_List{List: list}})
	if err != nil {
		return err
	}
	return message(out, &counterpb.ListResponse{Counters: a.GetCounters(), More: a.GetMore()})
}
