package serve

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// stream is one connected proxy. Its fields belong to the goroutine in run, but
// for the mailbox and what the server keeps (report).
type stream struct {
	server *Server
	id     uint64
	wire   wire
	delta  bool
	peer   string
	start  time.Time
	wake   chan struct{} // holds one token while there is news

	mu      sync.Mutex
	mailbox []*request
	node    *corepb.Node
	ended   error

	who     Node
	known   bool
	subs    map[resource.Type]*subscription
	nonces  uint64
	gen     *generation
	set     resource.Set
	failure string

	report report // guarded by Server.mu
}

// report is what the server knows of a stream.
type report struct {
	seq     uint64 // of the generation that was pushed
	settled bool   // everything was answered and nothing is left to ask for
	status  ProxyStatus
}

// notify wakes the stream's goroutine.
func (st *stream) notify() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// receive fills the mailbox until the stream ends.
func (st *stream) receive() {
	for {
		r, node, err := st.wire.receive()
		st.mu.Lock()
		if err != nil {
			st.ended = err
		} else {
			st.mailbox = append(st.mailbox, r)
			if st.node == nil && node != nil {
				st.node = node
			}
		}
		st.mu.Unlock()
		st.notify()
		if err != nil {
			return
		}
	}
}

// run serves the stream until the proxy leaves or the context ends.
func (st *stream) run(ctx context.Context) error {
	go st.receive()
	defer func() {
		st.server.emit(Event{Kind: Disconnected, Node: st.who.ID})
	}()
	for {
		select {
		case <-st.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		requests, err := st.collect()
		if errors.Is(err, io.EOF) {
			return nil // the proxy has closed its side
		}
		if err != nil {
			return err
		}
		for _, r := range requests {
			if err := st.take(r); err != nil {
				return err
			}
		}
		if err := st.push(); err != nil {
			return err
		}
		st.publish()
	}
}

// collect empties the mailbox and notes who the proxy is.
func (st *stream) collect() ([]*request, error) {
	st.mu.Lock()
	requests, node, ended := st.mailbox, st.node, st.ended
	st.mailbox = nil
	st.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	if len(requests) > 0 && !st.known {
		if node == nil {
			return nil, status.Error(codes.InvalidArgument, "the first request has no node")
		}
		st.who, st.known = NodeOf(node), true
		st.server.emit(Event{Kind: Connected, Node: st.who.ID})
	}
	return requests, nil
}

// take applies one request. Types that no resource is ever made of (extension
// configurations) are left without an answer, as the protocol has it for resources that
// do not exist.
func (st *stream) take(r *request) error {
	if !slices.Contains(resource.Types, r.typ) {
		if r.typ == "" {
			return status.Error(codes.InvalidArgument, "the request has no type_url")
		}
		return nil
	}
	sub := st.subs[r.typ]
	if sub == nil || (!st.delta && r.nonce == "") {
		sub = newSubscription(r.typ, st.delta)
		st.subs[r.typ] = sub
		sub.start(r)
		return nil
	}
	sub.at = time.Now()
	if st.delta {
		if r.nonce != "" {
			st.answered(sub, r)
		}
		sub.change(r)
		return nil
	}
	if sub.last == nil || r.nonce != sub.last.nonce {
		return nil // stale: the proxy has not seen the last response yet
	}
	// With another version than the response's it is not an answer, only a new list of names.
	if r.failed || r.version == sub.last.version {
		st.answered(sub, r)
	}
	sub.replace(r.names)
	return nil
}

func (st *stream) answered(sub *subscription, r *request) {
	answered := sub.answer(r)
	if answered == nil {
		return
	}
	e := Event{Kind: Acked, Node: st.who.ID, Type: r.typ, Version: answered.version, Nonce: r.nonce, Revision: st.revision()}
	if r.failed {
		e.Kind, e.Text = Nacked, r.refused
		st.server.logger.Warn("the proxy refused resources", "node", st.who.ID, "type", shortType(r.typ), "error", r.refused)
	}
	st.server.emit(e)
}

func (st *stream) revision() string {
	if st.gen == nil {
		return ""
	}
	return st.gen.revision
}

// push sends what the proxy lacks of the current generation.
func (st *stream) push() error {
	gen := st.server.generation()
	if gen == nil || !st.known {
		return nil
	}
	if gen != st.gen {
		st.generate(gen)
	}
	if st.set == nil {
		return nil
	}
	for _, t := range resource.Types {
		if sub := st.subs[t]; sub != nil {
			changed := st.changedClusters(sub)
			if err := st.send(sub, sub.additions(st.set)); err != nil {
				return err
			}
			st.warm(changed)
		}
	}
	if !st.answeredAll() {
		return nil
	}
	for _, t := range removalOrder {
		if sub := st.subs[t]; sub != nil {
			if err := st.send(sub, sub.removals(st.set)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removalOrder drops what refers to something before what it refers to.
var removalOrder = []resource.Type{resource.Listener, resource.Route, resource.Cluster, resource.Endpoint, resource.Secret, resource.NameTable}

func (st *stream) generate(gen *generation) {
	st.gen = gen
	set, err := gen.generate(st.who)
	if err != nil {
		st.failure = err.Error()
		st.server.logger.Error("no resources for a proxy", "node", st.who.ID, "revision", gen.revision, "error", err)
		st.server.emit(Event{Kind: Failed, Node: st.who.ID, Revision: gen.revision, Text: err.Error()})
		return
	}
	for _, t := range []resource.Type{resource.Cluster, resource.Listener} {
		for name, r := range set[t] {
			r.Learn(st.set[t][name])
		}
	}
	st.set, st.failure = set, ""
}

// changedClusters lists the endpoint names of clusters that are about to be sent
// again to an Envoy.
func (st *stream) changedClusters(sub *subscription) []string {
	if sub.typ != resource.Cluster || st.who.UserAgent != "envoy" {
		return nil
	}
	var names []string
	for _, name := range sub.wanted(st.set) {
		res, known := st.set[sub.typ][name], sub.sent[name]
		if known == nil || known.Version == res.Version {
			continue
		}
		for _, ref := range references(sub.typ, res) {
			if ref.Type == resource.Endpoint {
				names = append(names, ref.Name)
			}
		}
	}
	return names
}

// warm makes the endpoints of changed clusters go out again: an Envoy that gets
// another version of a cluster builds it anew and, unless a runtime flag says
// otherwise, waits for its endpoints although they are the same.
func (st *stream) warm(names []string) {
	sub := st.subs[resource.Endpoint]
	if sub == nil {
		return
	}
	for _, name := range names {
		delete(sub.sent, name)
	}
}

func (st *stream) send(sub *subscription, r *response) error {
	if r == nil {
		return nil
	}
	st.nonces++
	r.nonce = strconv.FormatUint(st.nonces, 10)
	sub.last, sub.at = r, time.Now()
	sub.outstanding = append(sub.outstanding, r)
	if err := st.wire.send(r); err != nil {
		return err
	}
	total, bytes := sub.total()
	st.server.emit(Event{Kind: Pushed, Node: st.who.ID, Type: r.typ, Revision: st.revision(), Version: r.version,
		Nonce: r.nonce, Count: len(r.resources), Removed: len(r.removed), Bytes: r.bytes(), Total: total, TotalBytes: bytes})
	return nil
}

// answeredAll tells whether removals may go out: the proxy has answered for all
// additions and, where it refused none, asked for what they refer to.
func (st *stream) answeredAll() bool {
	rejected := false
	for _, sub := range st.subs {
		if len(sub.outstanding) > 0 {
			return false
		}
		rejected = rejected || len(sub.rejected) > 0
	}
	return rejected || st.asked(false)
}

// asked tells whether the proxy has subscribed to all that its clusters and
// listeners refer to. Types that it never asked for count only where strict is set.
func (st *stream) asked(strict bool) bool {
	for _, t := range []resource.Type{resource.Cluster, resource.Listener} {
		sub := st.subs[t]
		if sub == nil {
			continue
		}
		for _, name := range sub.wanted(st.set) {
			for _, ref := range references(t, st.set[t][name]) {
				if target := st.subs[ref.Type]; target == nil && strict || target != nil && !target.wants(ref.Name) {
					return false
				}
			}
		}
	}
	return true
}

// settled tells whether the proxy has everything of the generation, or refused it.
func (st *stream) settled() bool {
	if st.set == nil || st.failure != "" || len(st.subs) == 0 {
		return false
	}
	rejected := false
	for _, sub := range st.subs {
		if len(sub.outstanding) > 0 {
			return false
		}
		rejected = rejected || len(sub.rejected) > 0
	}
	if rejected {
		return true
	}
	// A proxy that takes all clusters is going to ask for listeners, too.
	if c := st.subs[resource.Cluster]; c != nil && c.wildcard && st.subs[resource.Listener] == nil && len(st.set[resource.Listener]) > 0 {
		return false
	}
	return st.asked(true)
}

// publish tells the server what the proxy has.
func (st *stream) publish() {
	p := ProxyStatus{Node: st.who, Peer: st.peer, Delta: st.delta, Connected: st.start, Revision: st.revision(), Err: st.failure}
	accepted := true
	for _, t := range resource.Types {
		if sub := st.subs[t]; sub != nil {
			p.Types = append(p.Types, sub.status())
			accepted = accepted && len(sub.rejected) == 0
		}
	}
	r := report{settled: st.settled(), status: p}
	r.status.Synced = r.settled && accepted
	if st.gen != nil {
		r.seq = st.gen.seq
	}
	st.server.record(st, r)
}
