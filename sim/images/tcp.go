package images

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// echo is a server of TCP: it answers each connection with what comes on it.
type echo struct {
	answer func(net.Conn)

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[io.Closer]struct{} // listeners and connections
}

// newPlainEcho gives back what comes, byte by byte, as `fortio server` does at its TCP port.
func newPlainEcho(Container) (Server, error) {
	return newEcho(func(c net.Conn) { _, _ = io.Copy(c, struct{ io.Reader }{c}) }), nil
}

// newPrefixEcho is Istio's tcp-echo-server: each line comes back behind the word that is
// its second argument (its first has the ports), and a space.
func newPrefixEcho(c Container) (Server, error) {
	if len(c.Spec.Args) != 2 {
		return nil, errors.New(`tcp-echo-server takes two arguments, as in args: ["9000,9001", "hello"]`)
	}
	prefix := c.Spec.Args[1] + " "
	return newEcho(func(c net.Conn) {
		lines := bufio.NewReader(c)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, prefix+line); err != nil {
				return
			}
		}
	}), nil
}

// prefixEchoPorts are those of its first argument, with commas between them.
func prefixEchoPorts(args []string) []int {
	var ports []int
	if len(args) == 0 {
		return nil
	}
	for text := range strings.SplitSeq(args[0], ",") {
		if port, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16); err == nil && port > 0 {
			ports = append(ports, int(port))
		}
	}
	return ports
}

func newEcho(answer func(net.Conn)) *echo {
	return &echo{answer: answer, open: map[io.Closer]struct{}{}}
}

// Serve implements Server.
func (e *echo) Serve(l net.Listener) error {
	if !e.add(l) {
		return net.ErrClosed
	}
	defer e.drop(l)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if !e.add(c) {
			return net.ErrClosed
		}
		go func() {
			defer e.drop(c)
			e.answer(c)
		}()
	}
}

// add notes what Close has to close; it closes it itself where that has been.
func (e *echo) add(c io.Closer) bool {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.open[c] = struct{}{}
	}
	e.mu.Unlock()
	if closed {
		c.Close()
	}
	return !closed
}

func (e *echo) drop(c io.Closer) {
	e.mu.Lock()
	delete(e.open, c)
	e.mu.Unlock()
	c.Close()
}

// Close implements Server.
func (e *echo) Close() error {
	e.mu.Lock()
	e.closed = true
	open := e.open
	e.open = map[io.Closer]struct{}{}
	e.mu.Unlock()
	for c := range open { // what closes sends nothing, so that the order does not matter
		c.Close()
	}
	return nil
}
