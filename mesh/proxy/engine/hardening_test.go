package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answerWith adds an endpoint that reads a request's head and then does what answer says.
func (w *world) answerWith(answer func(c net.Conn)) { w.answerAfter(4096, answer) }

// answerAfter reads that many bytes at most: a server that leaves some of a request unread
// ends its connection by a reset, as TCP does.
func (w *world) answerAfter(read int, answer func(c net.Conn)) {
	n := len(w.cluster.Endpoints[0].Endpoints) + 1
	addr := fmt.Sprintf("10.0.1.%d", n)
	l, err := w.host("raw-"+addr, addr).Network(0, 0).Listen(context.Background(), addr+":80")
	if err != nil {
		w.t.Fatal(err)
	}
	w.listeners = append(w.listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, read)
				if _, err := c.Read(b); err == nil {
					answer(c)
				}
			}()
		}
	}()
	w.endpoint(addr)
}

// TestResponseCutAtEveryByte: whether by an end or by a reset, before the head is there a client gets a 503 with UC; after
// it a response that is visibly cut, never one that looks complete.
func TestResponseCutAtEveryByte(t *testing.T) {
	const head, sized, chunked = "HTTP/1.1 200 OK\r\nX: y\r\n", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	for i, response := range []string{head + sized, head + chunked, head + sized, head + chunked} {
		bubble(t, func(w *world) {
			cut, read := 0, 4096
			if i >= 2 {
				read = 10
			}
			w.answerAfter(read, func(c net.Conn) {
				_, _ = io.WriteString(c, response[:cut])
				time.Sleep(10 * time.Millisecond) // a reset must not overtake what it follows
			})
			w.build()
			headEnd := strings.Index(response, "\r\n\r\n") + 4
			for cut = range len(response) + 1 {
				r := w.get()
				what := fmt.Sprintf("%d of %d bytes, %d read", cut, len(response), read)
				switch {
				case cut < headEnd:
					w.expect(what, r, 503, "UC", "upstream_reset_before_response_started{connection_termination}")
				case cut < len(response):
					if w.expect(what, r, 200, "UC", "upstream_reset_after_response_started{connection_termination}"); !r.reset {
						t.Errorf("%s: the response looks complete: %q", what, r.body)
					}
				default:
					if w.expect(what, r, 200, "-", "via_upstream"); r.body != "hello" || r.reset {
						t.Errorf("%s: %q, reset: %v", what, r.body, r.reset)
					}
				}
			}
			w.stat("cluster.web.upstream_rq_active", 0)
		})
	}
}

// TestResponsesThatAreNoHTTP: what could be read in two ways is read in none. Envoy
// answers with a 502, UPE and protocol_error.
func TestResponsesThatAreNoHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, response := range map[string]string{
		"no HTTP":              "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"bare LF":              "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"status of two digits": "HTTP/1.1 20 OK\r\n\r\n",
		"length and chunked":   ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":          ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"list of lengths":      ok + "Content-Length: 5,6\r\n\r\nhello",
		"signed length":        ok + "Content-Length: +5\r\n\r\nhello",
		"unknown encoding":     ok + "Transfer-Encoding: gzip\r\n\r\n",
		"chunked twice":        ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":               ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"space before colon":   ok + "Content-Length : 0\r\n\r\n",
		"NUL in a value":       ok + "X: a\x00\r\nContent-Length: 0\r\n\r\n",
		"header bomb":          ok + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 100) + "\r\n",
		"upgrade, not asked":   "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		bubble(t, func(w *world) {
			w.answerWith(func(c net.Conn) { _, _ = io.WriteString(c, response) })
			w.build()
			w.expect(name, w.get(), 502, "UPE", "upstream_reset_before_response_started{protocol_error}")
			w.stat("cluster.web.upstream_rq_active", 0)
		})
	}
	for name, body := range map[string]string{
		"size is no number":       "x\r\nhello\r\n0\r\n\r\n",
		"huge size":               "fffffffffffffffff\r\nhello",
		"negative size":           "-5\r\nhello\r\n0\r\n\r\n",
		"chunk longer than said":  "3\r\nhello\r\n0\r\n\r\n",
		"bare LF after the size":  "5\nhello\r\n0\r\n\r\n",
		"endless extension":       "5;" + strings.Repeat("x", 100_000),
		"bare LF after a chunk":   "5\r\nhello\n0\r\n\r\n",
		"no end of the extension": "5;a=b\nhello\r\n0\r\n\r\n",
	} {
		bubble(t, func(w *world) {
			w.answerWith(func(c net.Conn) { _, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n"+body) })
			w.build()
			if r := w.get(); r.status != 200 || !r.reset || r.stream.Flags.String() == "-" {
				t.Errorf("%s: %d %s %s %q, want a 200 that is cut off", name, r.status, r.stream.Flags, r.stream.Details, r.body)
			}
		})
	}
}

// TestServerThatDoesNotRead: the client's patience, and nobody else's, ends it.
func TestServerThatDoesNotRead(t *testing.T) {
	bubble(t, func(w *world) {
		w.answerWith(func(net.Conn) { time.Sleep(90 * time.Second) })
		w.build()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		q := w.request()
		q.Method, q.ContentLength, q.Body = "POST", -1, pipeBody{io.NopCloser(zeros{})}
		r := w.do(ctx, q)
		if w.expect("endless upload", r, 0, "DC", "downstream_remote_disconnect"); r.took != time.Minute {
			t.Errorf("it took %v", r.took)
		}
		w.stat("cluster.web.upstream_rq_active", 0)
	})
}
