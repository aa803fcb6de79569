// Package broker lets a process use the network of another one. The broker (Serve)
// opens every socket and hands it over a Unix socket; its client (Network) reads and
// writes it as its own. So a proxy can be a process of its own, with processor time and
// memory that can be read, in a world whose names, addresses and redirect rules live in
// another process: what is asked of the broker is asked once a connection, never a request.
//
// It imports mesh/netx only.
package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// The questions that a client asks, each over a connection of its own.
const (
	opDial     = "dial"
	opListen   = "listen" // the connection stays open as long as the listener
	opAccepted = "accepted"
	opLookup   = "lookup"
)

// question is what a client wants.
type question struct {
	Op     string         `json:"op"`
	Addr   string         `json:"addr,omitempty"`
	Source netip.Addr     `json:"source,omitzero"`
	From   netip.AddrPort `json:"from,omitzero"` // opAccepted: the connection as the system knows it
	To     netip.AddrPort `json:"to,omitzero"`
}

// answer goes with a file descriptor where a socket was asked for.
type answer struct {
	Error string       `json:"error,omitempty"`
	Errno int          `json:"errno,omitempty"`
	Addrs []netip.Addr `json:"addrs,omitempty"`
	Flow  Flow         `json:"flow,omitzero"`
}

// Flow is a connection as the host sees it. Of a listener only Local is known.
type Flow struct {
	Local    netip.AddrPort `json:"local,omitzero"`
	Remote   netip.AddrPort `json:"remote,omitzero"`
	Original netip.AddrPort `json:"original,omitzero"` // before a redirect; not valid: there was none
}

// maxMessage is more than any question or answer has.
const maxMessage = 64 << 10

// rightsSize is the room for one file descriptor.
var rightsSize = syscall.CmsgSpace(4)

// write sends a message, and a file with it where there is one.
func write(c *net.UnixConn, message any, file *os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = syscall.UnixRights(int(file.Fd()))
	}
	_, _, err = c.WriteMsgUnix(data, rights, nil)
	return err
}

// read receives a message, and the file that came with it; nil: none.
func read(c *net.UnixConn, message any) (*os.File, error) {
	data, rights := make([]byte, maxMessage), make([]byte, rightsSize)
	n, r, _, _, err := c.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	file, err := received(rights[:r])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data[:n], message); err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, fmt.Errorf("the broker's connection carries something else: %w", err)
	}
	return file, nil
}

func received(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d file descriptors: %w", len(fds), err)
	}
	syscall.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "socket"), nil
}

// failed makes an answer of an error; its number survives, so that a client can tell
// a refused connection from an unreachable host.
func failed(err error) answer {
	a := answer{Error: err.Error()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		a.Errno = int(errno)
	}
	return a
}

// err is the error of an answer.
func (a answer) err() error {
	switch {
	case a.Error == "":
		return nil
	case a.Errno != 0:
		return &failure{text: a.Error, errno: syscall.Errno(a.Errno)}
	}
	return errors.New(a.Error)
}

// failure is an error that happened in the broker.
type failure struct {
	text  string
	errno syscall.Errno
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.errno }
