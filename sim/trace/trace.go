// Package trace records what happened in a world, so that two runs with one
// seed can be compared. Events come in from the network, the proxies and the
// engine; a digest and, where two runs differ, the first difference go out. It
// imports nothing of ours.
package trace

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one thing that happened.
type Event struct {
	Time time.Time // virtual
	Kind string    // what happened: "conn-open", "pod", "exchange" …
	Who  string    // to whom: a link, a Pod …
	Text string    // all else that has to be the same on every run of a seed
}

// String is the event's line in a trace.
func (e Event) String() string {
	return fmt.Sprintf("%s %s %s %s", e.Time.UTC().Format("15:04:05.000000000"), e.Kind, e.Who, e.Text)
}

// Recorder collects events. It is safe for use by several goroutines.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// New returns an empty recorder.
func New() *Recorder { return &Recorder{} }

// Add records an event at the present instant. A nil recorder records nothing.
func (r *Recorder) Add(kind, who, text string) {
	if r == nil {
		return
	}
	e := Event{Time: time.Now(), Kind: kind, Who: who, Text: text}
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
}

// Events returns the events, sorted by time, kind, who and text: so the order in
// which goroutines ran within one instant does not show.
func (r *Recorder) Events() []Event {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.events, compare) // who asks again finds them sorted
	return slices.Clone(r.events)
}

// Digest is "sha256:…" over Events.
func (r *Recorder) Digest() string { return Digest(r.Events()) }

// Digest is "sha256:…" over events in the order given. Each part is preceded by its
// length, so no two traces write the same bytes.
func Digest(events []Event) string {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 1<<14)
	for _, e := range events {
		fmt.Fprintf(w, "%d %d:%s %d:%s %d:%s\n", e.Time.UnixNano(), len(e.Kind), e.Kind, len(e.Who), e.Who, len(e.Text), e.Text)
	}
	_ = w.Flush() // a hash takes everything
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// FirstDifference shows where two sorted traces part, with that many lines before
// the first different one and after it. It is empty where they are equal.
func FirstDifference(a, b []Event, context int) string {
	n := 0
	for n < len(a) && n < len(b) && compare(a[n], b[n]) == 0 {
		n++
	}
	if n == len(a) && n == len(b) {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "the traces differ from line %d (of %d and %d)\n", n+1, len(a), len(b))
	for _, e := range a[max(0, n-context):n] {
		fmt.Fprintf(&out, "  %s\n", e)
	}
	for _, side := range []struct {
		sign   string
		events []Event
	}{{"-", a}, {"+", b}} {
		if n == len(side.events) {
			fmt.Fprintf(&out, "%s (end of trace)\n", side.sign)
			continue
		}
		for _, e := range side.events[n:min(len(side.events), n+1+context)] {
			fmt.Fprintf(&out, "%s %s\n", side.sign, e)
		}
	}
	return out.String()
}

func compare(a, b Event) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Who, b.Who), cmp.Compare(a.Text, b.Text))
}
