package serve

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// request is what a proxy asked or answered, the same for both protocols.
type request struct {
	typ   resource.Type
	nonce string
	// refused is error_detail's text; failed tells that there was one.
	refused string
	failed  bool

	// State of the world: all names, and the version that the proxy accepted last.
	names   []string
	version string

	// Delta: changes of the subscription, and what the proxy has from an earlier stream.
	subscribe, unsubscribe []string
	initial                map[string]string
}

// response is one message to a proxy; content is what it says by name, "" for absent.
type response struct {
	typ       resource.Type
	nonce     string
	version   string
	resources []*resource.Resource
	removed   []string
	content   map[string]string
}

func (r *response) bytes() int {
	n := 0
	for _, res := range r.resources {
		n += len(res.Body.GetValue())
	}
	return n
}

// subscription is the state of one type on one stream: a machine without I/O.
type subscription struct {
	typ      resource.Type
	delta    bool
	wildcard bool
	names    map[string]bool
	// due is set while the proxy waits for a first answer, even an empty one.
	due bool
	// claimed is the version that a proxy of the state-of-the-world protocol brought along.
	claimed string

	// sent has what the proxy was told. Resources from an earlier stream have no
	// body; those that it was told do not exist have no version either.
	sent map[string]*resource.Resource
	// outstanding are responses without an answer, rejected those that were refused
	// and not replaced since; both oldest first.
	outstanding, rejected []*response

	last      *response
	nack      string
	acked     string
	at        time.Time
	emptyOnce bool // a first empty list of names was taken as the wildcard
}

func newSubscription(t resource.Type, delta bool) *subscription {
	return &subscription{typ: t, delta: delta, names: map[string]bool{}, sent: map[string]*resource.Resource{}}
}

// whole tells whether responses of the state-of-the-world protocol list every
// resource, so that what is missing is gone. It is so for clusters and listeners, and for
// the name table, which is one resource.
func (s *subscription) whole() bool {
	return s.typ == resource.Cluster || s.typ == resource.Listener || s.typ == resource.NameTable
}

// start begins the subscription with the first request of a type on the stream.
func (s *subscription) start(r *request) {
	names := r.names
	if s.delta {
		names = r.subscribe
		for name, version := range r.initial {
			s.sent[name] = &resource.Resource{Name: name, Version: version}
		}
		s.due = len(r.initial) == 0 && s.whole()
	} else {
		s.claimed = r.version
		s.due = s.whole()
	}
	// An empty first list means all, for the types that know a wildcard.
	if len(names) == 0 && s.whole() {
		s.wildcard, s.emptyOnce = true, true
	}
	s.add(names)
	s.forget()
}

func (s *subscription) add(names []string) {
	for _, name := range names {
		if name == "*" {
			s.wildcard = true
			continue
		}
		s.names[name] = true
	}
}

func (s *subscription) wants(name string) bool { return s.wildcard || s.names[name] }

// change takes the changes of a later delta request. A name that is subscribed to
// again is sent again: the proxy may have dropped the resource meanwhile.
func (s *subscription) change(r *request) {
	for _, name := range r.subscribe {
		if known := s.sent[name]; known != nil && (s.names[name] || known.Version == "") {
			delete(s.sent, name)
		}
	}
	s.add(r.subscribe)
	for _, name := range r.unsubscribe {
		if name == "*" {
			s.wildcard = false
		} else {
			delete(s.names, name)
		}
	}
	s.forget()
}

// replace takes the list of names of a later state-of-the-world request.
func (s *subscription) replace(names []string) {
	if len(names) == 0 && s.emptyOnce {
		return
	}
	asked := s.names
	s.names, s.wildcard, s.emptyOnce = map[string]bool{}, false, false
	s.add(names)
	for name := range s.names {
		if !asked[name] && s.whole() && s.sent[name] == nil {
			s.due = true // an answer without the name tells that it does not exist
		}
	}
	s.forget()
}

// forget drops what is not subscribed to any more: the proxy dropped it, too.
func (s *subscription) forget() {
	for name := range s.sent {
		if !s.wants(name) {
			delete(s.sent, name)
		}
	}
}

// answer takes an ACK or NACK. It returns the response that was answered, or nil
// where the nonce is of none that counts.
func (s *subscription) answer(r *request) *response {
	if i := indexNonce(s.rejected, r.nonce); i >= 0 && !r.failed {
		// The proxy took it after all: with what came later it made sense.
		taken := s.rejected[i]
		s.rejected = slices.Delete(s.rejected, i, i+1)
		s.settle(taken)
		return taken
	}
	i := indexNonce(s.outstanding, r.nonce)
	if i < 0 {
		return nil
	}
	answered := s.outstanding[i]
	s.outstanding = slices.Delete(s.outstanding, 0, i+1)
	if r.failed {
		s.rejected = append(s.rejected, answered)
		s.nack = r.refused
		return answered
	}
	s.acked = answered.version
	s.settle(answered)
	return answered
}

// settle drops refused responses that an accepted one has replaced.
func (s *subscription) settle(accepted *response) {
	s.rejected = slices.DeleteFunc(s.rejected, func(r *response) bool {
		if !s.delta && s.whole() {
			return true
		}
		for name := range r.content {
			if _, again := accepted.content[name]; again || !s.wants(name) {
				delete(r.content, name)
			}
		}
		return len(r.content) == 0
	})
	if len(s.rejected) == 0 {
		s.nack = ""
	}
}

func indexNonce(rs []*response, nonce string) int {
	return slices.IndexFunc(rs, func(r *response) bool { return r.nonce == nonce })
}

// additions returns what is new or changed for the proxy, or nil.
func (s *subscription) additions(set resource.Set) *response {
	var changed []*resource.Resource
	for _, name := range s.wanted(set) {
		res := set[s.typ][name]
		if known := s.sent[name]; known == nil || known.Version != res.Version {
			changed = append(changed, res)
		}
	}
	if s.delta {
		return s.deltaAdditions(set, changed)
	}
	if s.claimed != "" {
		if s.whole() && s.claimed == s.version(set) {
			for _, res := range changed {
				s.sent[res.Name] = res
			}
			s.acked, s.due, changed = s.claimed, false, nil
		}
		s.claimed = ""
	}
	if len(changed) == 0 && !s.due {
		return nil
	}
	s.due = false
	for _, res := range changed {
		s.sent[res.Name] = res
	}
	if s.whole() {
		return s.everything()
	}
	return s.response(changed, nil)
}

func (s *subscription) deltaAdditions(set resource.Set, changed []*resource.Resource) *response {
	for _, res := range changed {
		s.sent[res.Name] = res
	}
	var absent []string
	for name := range s.names {
		if set[s.typ][name] == nil && s.sent[name] == nil {
			absent = append(absent, name)
			s.sent[name] = &resource.Resource{Name: name}
		}
	}
	if len(changed) == 0 && len(absent) == 0 && !s.due {
		return nil
	}
	s.due = false
	return s.response(changed, absent)
}

// removals returns what makes the proxy drop resources that are gone, or nil.
func (s *subscription) removals(set resource.Set) *response {
	gone := s.gone(set)
	if len(gone) == 0 {
		return nil
	}
	for _, name := range gone {
		delete(s.sent, name)
		if s.delta && s.names[name] {
			s.sent[name] = &resource.Resource{Name: name}
		}
	}
	switch {
	case s.delta:
		return s.response(nil, gone)
	case s.whole():
		return s.everything()
	default:
		return nil // the protocol has no words for it; whoever referred to it dropped it
	}
}

// gone lists what the proxy has and the set has not, sorted.
func (s *subscription) gone(set resource.Set) []string {
	var gone []string
	for name, known := range s.sent {
		if set[s.typ][name] == nil && known.Version != "" {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return gone
}

// wanted lists the resources of a set that the proxy asked for, sorted.
func (s *subscription) wanted(set resource.Set) []string {
	if s.wildcard {
		return set.Names(s.typ)
	}
	var names []string
	for name := range s.names {
		if set[s.typ][name] != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// version is the hash of what the proxy asked for in a set.
func (s *subscription) version(set resource.Set) string {
	part := resource.Set{}
	for _, name := range s.wanted(set) {
		part.Put(s.typ, set[s.typ][name])
	}
	return part.Version(s.typ)
}

func (s *subscription) everything() *response {
	all := slices.SortedFunc(maps.Values(s.sent), func(a, b *resource.Resource) int { return strings.Compare(a.Name, b.Name) })
	return s.response(all, nil)
}

// response makes a message; its version is the hash of all that the proxy has with it.
func (s *subscription) response(resources []*resource.Resource, removed []string) *response {
	slices.Sort(removed)
	held := resource.Set{s.typ: map[string]*resource.Resource{}}
	for name, res := range s.sent {
		if res.Version != "" {
			held[s.typ][name] = res
		}
	}
	r := &response{typ: s.typ, resources: resources, removed: removed, version: held.Version(s.typ),
		content: make(map[string]string, len(resources)+len(removed))}
	for _, res := range resources {
		r.content[res.Name] = res.Version
	}
	for _, name := range removed {
		r.content[name] = ""
	}
	return r
}

func (s *subscription) status() TypeStatus {
	st := TypeStatus{Type: s.typ, Wildcard: s.wildcard, Names: len(s.names), Acked: s.acked, Nack: s.nack, At: s.at}
	st.Resources, _ = s.total()
	if s.last != nil {
		st.Sent = s.last.version
	}
	return st
}

// total is how many resources the proxy has, and their size. Those that it brought from
// an earlier stream have no body here.
func (s *subscription) total() (n, bytes int) {
	for _, res := range s.sent {
		if res.Version != "" {
			n++
			bytes += len(res.Body.GetValue())
		}
	}
	return n, bytes
}
