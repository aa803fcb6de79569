package filter

import (
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func TestQuotaOfTheDescriptorWithLeast(t *testing.T) {
	// Statuses: 10 a minute, 4 left for 50 s; 100 an hour named "all", 3 left for 1800 s; no limit.
	q := quotaOf(statuses(t, "\x08\x01\x12\x04\x08\x0a\x10\x02\x18\x04\x22\x02\x08\x32", "\x12\x09\x08\x64\x10\x03\x1a\x03all\x18\x03\x22\x03\x08\x88\x0e", "\x08\x01"))
	_, err := q.tell(nil, &reply.Reply{Status: 429, Header: message.Header{{Name: "a", Value: "b"}}})
	h := err.(*reply.Reply).Header
	if h.Get("a") != "b" || h.Get("x-ratelimit-limit") != `100, 10;w=60, 100;w=3600;name="all"` || h.Get("x-ratelimit-remaining") != "3" || h.Get("x-ratelimit-reset") != "1800" {
		t.Errorf("%v", h)
	}
	if q := quotaOf(statuses(t, "\x08\x01")); q != nil {
		t.Errorf("without a limit: %+v", q)
	}
	if _, err := readStatus([]byte("\x12\x04\x08")); err == nil {
		t.Error("half a status is taken")
	}
}

func statuses(t *testing.T, messages ...string) (list []descriptorStatus) {
	t.Helper()
	for _, m := range messages {
		s, err := readStatus([]byte(m))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

func TestQuotaOfABucket(t *testing.T) {
	now := time.Unix(0, 0)
	b := newBucket(snapshot.TokenBucket{Max: 2, PerFill: 1, Interval: 10 * time.Second}, now)
	for i, want := range []quota{{limit: 2, remaining: 1}, {limit: 2, reset: 10}, {limit: 2, reset: 10}} {
		b.take(now)
		if got := *b.quota(); got != want {
			t.Errorf("after %d requests %+v, want %+v", i+1, got, want)
		}
	}
	b.take(now.Add(4 * time.Second))
	if got := *b.quota(); got.reset != 6 {
		t.Errorf("four seconds later %+v", got)
	}
}
