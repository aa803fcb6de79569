package manager

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// TestHostileRequests: what two parsers could read in two ways is answered with Envoy's
// status and DPE, and the connection ends: what comes behind it is never a request.
func TestHostileRequests(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	const post = "POST / HTTP/1.1\r\nHost: a\r\n"
	for name, test := range map[string]struct {
		in     string
		status int
		served int // requests that reached the handler
	}{
		"CL.TE":                      {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, 0},
		"TE.CL":                      {post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled, 400, 0},
		"TE.TE, the second obscured": {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + smuggled, 501, 0},
		"TE in quotes":               {post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + smuggled, 501, 0},
		"TE with a parameter":        {post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n" + smuggled, 501, 0},
		"TE behind a fold":           {post + "X: a\r\n Transfer-Encoding: chunked\r\n\r\n" + smuggled, 400, 0},
		"TE with a space":            {post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, 0},
		"TE behind a bare CR":        {post + "X: a\rTransfer-Encoding: chunked\r\n\r\n" + smuggled, 400, 0},
		"TE behind a bare LF":        {post + "X: a\nTransfer-Encoding: chunked\r\n\r\n" + smuggled, 400, 0},
		"TE of HTTP/1.0":             {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, 0},
		"two lengths":                {post + "Content-Length: 0\r\nContent-Length: 36\r\n\r\n" + smuggled, 400, 0},
		"list of lengths":            {post + "Content-Length: 0, 36\r\n\r\n" + smuggled, 400, 0},
		"length in hexadecimal":      {post + "Content-Length: 0x0\r\n\r\n" + smuggled, 400, 0},
		"length with an underscore":  {post + "Content-Length: 3_6\r\n\r\n" + smuggled, 400, 0},
		"named by connection":        {post + "Connection: content-length\r\nContent-Length: 36\r\n\r\n" + smuggled, 400, 0},
		"chunk with a sign":          {post + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n" + smuggled, 400, 1},
		"chunk with 0x":              {post + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + smuggled, 400, 1},
		"chunk too long":             {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n" + smuggled, 400, 1},
		"chunk with a bare LF":       {post + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + smuggled, 400, 1},
		"extension with a bare LF":   {post + "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n" + smuggled, 400, 1},
		"chunk of 2^64":              {post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + smuggled, 400, 1},
		"extension without end":      {post + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 70<<10), 400, 1},
		"trailer bomb":               {post + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 90) + "\r\n", 400, 1},
		"header bomb":                {post + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 90) + "\r\n" + smuggled, 431, 0},
		"a hundred and one fields":   {post + strings.Repeat("X: a\r\n", 101) + "\r\n" + smuggled, 431, 0},
		"endless request line":       {"GET /" + strings.Repeat("a", 70<<10), 431, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				served := 0
				w := serve(t, snapshot.HTTPManager{}, nil, func(ctx context.Context, q *message.Request) (*message.Response, error) {
					served++
					return echo(ctx, q)
				})
				go func() { _, _ = io.WriteString(w.client, test.in) }()
				answers := 0
				for {
					p, err := http.ReadResponse(w.replies, nil)
					if err != nil {
						break
					}
					_, _ = io.Copy(io.Discard, p.Body)
					if answers++; p.StatusCode != test.status || !p.Close {
						t.Errorf("answer %d is a %d, closing: %v", answers, p.StatusCode, p.Close)
					}
				}
				w.close()
				if answers != 1 || served != test.served || len(w.records) != 1 || w.records[0].flags != "DPE" {
					t.Errorf("%d answers, %d requests served, %+v", answers, served, w.records)
				}
			})
		})
	}
}

// TestRequestCutAtEveryByte: a client that goes away costs an exchange at most, and no
// request is taken for complete that is not.
func TestRequestCutAtEveryByte(t *testing.T) {
	for _, in := range []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		for cut := range len(in) {
			synctest.Test(t, func(t *testing.T) {
				complete := false
				w := serve(t, snapshot.HTTPManager{}, nil, func(_ context.Context, q *message.Request) (*message.Response, error) {
					_, err := io.ReadAll(q.Body)
					complete = err == nil
					return &message.Response{Status: 200}, err
				})
				w.send(t, in[:cut])
				w.close()
				began := cut >= strings.Index(in, "\r\n\r\n")+4
				if complete || began != (len(w.records) == 1) || began && (w.records[0].status != 0 || w.records[0].flags != "DC") {
					t.Errorf("cut after %d of %q: complete: %v, %+v", cut, in, complete, w.records)
				}
			})
		}
	}
}

// TestSlowClients: a byte a second is a client like any other until a limit says
// otherwise; the limit counts from the first byte, whatever drips in.
func TestSlowClients(t *testing.T) {
	const in = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789"
	for name, test := range map[string]struct {
		config snapshot.HTTPManager
		want   string
	}{
		"no limit":        {snapshot.HTTPManager{}, "200 after 1m7s -"},
		"head":            {snapshot.HTTPManager{RequestHeadersTimeout: 10 * time.Second}, "408 after 10s -"},
		"request":         {snapshot.HTTPManager{RequestTimeout: 50 * time.Second}, "408 after 50s -"},
		"idle, dripping":  {snapshot.HTTPManager{StreamIdleTimeout: 48 * time.Second}, "200 after 1m7s -"},
		"idle, too slow":  {snapshot.HTTPManager{StreamIdleTimeout: 900 * time.Millisecond}, "408 after 900ms SI"},
		"stream duration": {snapshot.HTTPManager{MaxStreamDuration: 5 * time.Second}, "408 after 5s DT"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serve(t, test.config, nil, echo)
				begin := time.Now()
				go func() {
					for i := range len(in) {
						if _, err := io.WriteString(w.client, in[i:i+1]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				p, _ := w.receive(t)
				took := time.Since(begin)
				w.close()
				time.Sleep(2 * time.Minute)
				if got := fmt.Sprintf("%d after %v %s", p.StatusCode, took, w.records[0].flags); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		})
	}
}
