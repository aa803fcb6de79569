package tracing_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// sw8 is the context of the specification's own example.
const sw8 = "1-YWJj-c2VnbWVudA==-3-YQ==-Yg==-L2M=-ZDo4MA=="

func TestSegments(t *testing.T) {
	to := netip.MustParseAddrPort("10.0.0.9:80")
	for name, c := range map[string]struct {
		came     string
		children bool
		sampled  bool
		want     string // what the next server gets begins so
		trace    string // "": a new one
		sent     int
	}{
		"a new trace":              {"", true, true, "1-", "", 1},
		"not sampled: sent anyway": {"", true, false, "1-", "", 1},
		"a caller's":               {sw8, true, false, "1-YWJj-", "abc", 1},
		"not to be sampled":        {"0" + sw8[1:], true, false, "1-YWJj-", "abc", 1},
		"without spans of tries":   {sw8, false, true, sw8, "abc", 1},
		"too few parts":            {"1-YWJj", true, true, "1-YWJj", "-", 0},
		"no number":                {strings.Replace(sw8, "-3-", "-x-", 1), true, true, strings.Replace(sw8, "-3-", "-x-", 1), "-", 0},
		"no base64":                {strings.Replace(sw8, "YWJj", "%", 1), true, true, strings.Replace(sw8, "YWJj", "%", 1), "-", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reports{}
				h, registry := newHub(t, r)
				config := config(snapshot.TraceProvider{Protocol: snapshot.SkyWalking, Headers: []snapshot.HeaderOp{{Name: "authentication", Value: "secret", Action: snapshot.OverwriteOrAdd}}})
				config.ChildSpans = c.children
				tracer, err := h.Tracer(config)
				if err != nil {
					t.Fatal(err)
				}
				var fields []string
				if c.came != "" {
					fields = []string{"sw8", c.came}
				}
				q := request(c.sampled, true, fields...)
				s := tracer.Start(q, "ignored")
				for range 2 { // tries
					s.Try(&q.Header, q.Path, to, time.Now())
				}
				got := q.Header.Get("sw8")
				if !strings.HasPrefix(got, c.want) || len(strings.Split(got, "-")) != 8 && c.sent > 0 {
					t.Errorf("sw8 is %q", got)
				}
				if parts := strings.Split(got, "-"); c.children && c.sent > 0 && (parts[3] != "2" || parts[7] != "MTAuMC4wLjk6ODA=") {
					t.Errorf("sw8 is %q: not of the second try", got)
				}
				if id := s.TraceID(); c.trace == "abc" && id != "abc" || c.trace == "" && len(id) != 36 || c.trace == "-" && id != "" {
					t.Errorf("trace %q", id)
				}
				q.Stream.Duration = time.Second
				s.End(q, &message.Response{Status: 200}, 200, q.Stream)
				synctest.Wait()
				if len(r.sent) != c.sent || registry.Values()["tracing.skywalking.segments_sent"] != int64(c.sent) {
					t.Fatalf("%d reports, %d counted", len(r.sent), registry.Values()["tracing.skywalking.segments_sent"])
				}
				if c.sent > 0 {
					if q := r.sent[0]; q.Path != "/skywalking.v3.TraceSegmentReportService/collect" || q.Header.Get("authentication") != "secret" || q.Protocol != message.HTTP2 {
						t.Errorf("report %+v", q)
					}
				}
			})
		})
	}
}
