package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// keptBody is how much of the first answer's body is kept, in bytes.
	keptBody = 1 << 20
	// inlineBody is the size of a body that may be written before the answer is
	// read: a larger one could wait for a peer that answered early and reads no more.
	inlineBody = 16 << 10
)

// caller is one client with at most one connection. One goroutine uses it.
type caller struct {
	request   *request // of the call at hand
	thread    int
	keepAlive bool
	sockets   *int64 // connections that the thread has made; nil: the caller has a thread of its own
	socket    int64  // number of the connection
	conn      net.Conn
	session   *Session // nil in plain text
	reader    *bufio.Reader
	streams   *multiplexer // of HTTP/2
	buffer    []byte
	records   []Record
	first     *Answer
	firstSent time.Time
}

// errTimeout is the error of a call that took longer than the client waits.
var errTimeout = errors.New("timeout")

// call makes one call and records it.
func (c *caller) call(ctx context.Context, iter int64, intended time.Time) *Record {
	r := Record{ID: c.request.requestID(c.thread, iter), Thread: c.thread, Intended: intended, Sent: time.Now()}
	if intended.IsZero() {
		r.Intended = r.Sent
	}
	patience := c.request.target.Timeout
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: no answer in %v", errTimeout, patience))
	err := c.exchange(limited, &r)
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		r.Status, r.Error, r.Kind = 0, err.Error(), kindOf(err)
	}
	cancel()
	if err != nil || !c.keepAlive {
		c.close()
	}
	r.Done = time.Now()
	c.records = append(c.records, r)
	return &c.records[len(c.records)-1]
}

// exchange sends a call, on a new connection once more where the kept one turned
// out to be closed: no byte of an answer came, and the method may be repeated
// (RFC 9110, section 9.2.2).
func (c *caller) exchange(ctx context.Context, r *Record) error {
	reused := c.conn != nil
	answered, err := c.attempt(ctx, r)
	if err == nil || !reused || answered || ctx.Err() != nil || c.request.target.size() > 0 || !repeatable(c.request.method) {
		return err
	}
	c.close()
	_, err = c.attempt(ctx, r)
	return err
}

func repeatable(method string) bool {
	return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE"
}

// attempt sends a call on the caller's connection; answered tells whether any byte came back.
func (c *caller) attempt(ctx context.Context, r *Record) (answered bool, err error) {
	if c.streams != nil && !c.streams.client.Usable() {
		c.close() // the peer has said that it takes no further streams
	}
	if c.conn == nil {
		conn, session, err := c.connect(ctx)
		if err != nil {
			return false, err
		}
		c.conn, c.session, c.reader = conn, session, bufio.NewReader(conn)
		c.number()
	}
	conn := c.conn
	r.TLS, r.Socket = c.session, c.socket
	// Closing works on every kind of connection, deadlines do not.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	return c.request.speak(c, r)
}

// number gives a new connection its number.
func (c *caller) number() {
	if c.sockets == nil {
		c.sockets = new(int64)
	}
	*c.sockets++
	c.socket = int64(c.thread)<<32 | *c.sockets
}

// http1 makes a call of HTTP/1.1.
func http1(c *caller, r *Record) (answered bool, err error) {
	conn := c.conn
	written, err := c.send(r.ID)
	if err != nil && written == nil {
		// The peer may have answered before it closed: look, but report the write.
		if _, e := c.reader.Peek(1); e != nil {
			return false, err
		}
	}
	reusable, err := c.receive(r)
	answered = err == nil || !errors.Is(err, errNoByte)
	if written != nil {
		select {
		case e := <-written:
			reusable = reusable && e == nil
		default: // answered early: the rest of the body has nobody to read it
			conn.Close()
			<-written
			reusable = false
		}
	}
	if !reusable && err == nil {
		c.close()
	}
	return answered, err
}

// send writes the request; a large body is written on the side, and its end comes
// through the channel.
func (c *caller) send(id string) (<-chan error, error) {
	b := append(c.buffer[:0], c.request.head...)
	b = append(b, "X-Request-Id: "...)
	b = append(b, id...)
	b = append(b, "\r\n\r\n"...)
	body := c.request.target.Body
	if c.request.target.size() <= inlineBody {
		if n := c.request.target.Filler; n > 0 {
			body = bytes.Repeat(filler, int(n))
		}
		b = append(b, body...)
		c.buffer = b
		_, err := c.conn.Write(b)
		return nil, err
	}
	c.buffer = b
	written := make(chan error, 1)
	go func(conn net.Conn) {
		_, err := conn.Write(b)
		if err == nil {
			_, err = conn.Write(body)
		}
		if err == nil {
			err = fill(conn, c.request.target.Filler)
		}
		written <- err
	}(c.conn)
	return written, nil
}

// filler is what Filler bodies are made of.
var filler = []byte{'w'}

// size is the number of bytes of a call's body.
func (t *Target) size() int64 { return int64(len(t.Body)) + t.Filler }

// fill writes n bytes of filler.
func fill(w io.Writer, n int64) error {
	piece := bytes.Repeat(filler, int(min(n, 64<<10)))
	for n > 0 {
		written, err := w.Write(piece[:min(n, int64(len(piece)))])
		if err != nil {
			return err
		}
		n -= int64(written)
	}
	return nil
}

// errNoByte is the error of a connection that ended before an answer began.
var errNoByte = errors.New("connection closed before an answer")

// receive reads the answer; reusable tells whether the connection may serve again.
func (c *caller) receive(r *Record) (reusable bool, err error) {
	if _, err := c.reader.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			return false, errNoByte
		}
		return false, fmt.Errorf("%w: %w", errNoByte, err)
	}
	asked := &http.Request{Method: c.request.method}
	var answer *http.Response
	for {
		if answer, err = http.ReadResponse(c.reader, asked); err != nil {
			return false, fmt.Errorf("answer: %w", err)
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	kept, err := c.take(r, answer.Body)
	if err != nil {
		return false, err
	}
	answer.Body.Close()
	r.Status, r.Protocol = answer.StatusCode, answer.Proto
	c.keep(r, lower(answer.Header), kept)
	return !answer.Close && answer.StatusCode != http.StatusSwitchingProtocols, nil
}

// take reads an answer's content to its end and counts it; of a first answer's it
// keeps the beginning.
func (c *caller) take(r *Record, body io.Reader) (kept []byte, err error) {
	if c.first == nil {
		if kept, err = io.ReadAll(io.LimitReader(body, keptBody)); err != nil {
			return nil, fmt.Errorf("answer's body: %w", err)
		}
	}
	rest, err := io.Copy(io.Discard, body)
	if err != nil {
		return nil, fmt.Errorf("answer's body: %w", err)
	}
	r.Bytes = int64(len(kept)) + rest
	return kept, nil
}

// keep notes a first answer.
func (c *caller) keep(r *Record, headers map[string]string, body []byte) {
	if c.first == nil {
		c.first, c.firstSent = &Answer{Headers: headers, Body: body}, r.Sent
	}
}

func lower(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for name, values := range h {
		m[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return m
}

func (c *caller) close() {
	if c.conn != nil {
		if c.streams != nil {
			c.streams.close()
		}
		c.conn.Close()
		c.conn, c.reader, c.streams = nil, nil, nil
	}
}
