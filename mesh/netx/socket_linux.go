package netx

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a TCP socket whose short reads and writes do not trouble the scheduler. Go's
// sockets never block, yet package net announces each system call as one that may: the
// runtime's monitor then takes the processor away from calls that last over a tick of its own,
// wakes a thread for it, and goes on looking closely. With one processor per proxy there is
// nobody to take it for.
type Socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is one direction. The lock is that of package net's descriptors: one read, or
// write, after the other.
type transfer struct {
	mu    sync.Mutex
	p     []byte
	n     int
	errno syscall.Errno
	step  func(fd uintptr) bool
}

// quick is up to how many bytes a transfer is short: a few microseconds' copying.
const quick = 64 << 10

// NewSocket makes a Socket of a connection.
func NewSocket(c *net.TCPConn) *Socket {
	s := &Socket{TCPConn: c}
	s.in.step, s.out.step = s.in.read, s.out.write
	if raw, err := c.SyscallConn(); err == nil {
		s.raw = raw
	}
	return s
}

// Read implements net.Conn.
func (s *Socket) Read(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 || len(p) > quick {
		return s.TCPConn.Read(p)
	}
	n, errno, err := s.in.run(p, s.raw.Read)
	switch {
	case err != nil:
		return 0, s.wrap("read", err)
	case errno != 0:
		return 0, s.wrap("read", os.NewSyscallError("read", errno))
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (s *Socket) Write(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 || len(p) > quick {
		return s.TCPConn.Write(p)
	}
	n, errno, err := s.out.run(p, s.raw.Write)
	switch {
	case err != nil:
		return n, s.wrap("write", err)
	case errno != 0:
		return n, s.wrap("write", os.NewSyscallError("write", errno))
	}
	return n, nil
}

func (t *transfer) run(p []byte, with func(func(uintptr) bool) error) (int, syscall.Errno, error) {
	t.mu.Lock()
	t.p, t.n, t.errno = p, 0, 0
	err := with(t.step)
	n, errno := t.n, t.errno
	t.p = nil
	t.mu.Unlock()
	return n, errno, err
}

// read is false where nothing has come yet.
func (t *transfer) read(fd uintptr) bool {
	n, errno := call(unix.SYS_READ, fd, t.p)
	if errno == unix.EAGAIN {
		return false
	}
	t.n, t.errno = n, errno
	return true
}

// write is false where there is no room for the rest.
func (t *transfer) write(fd uintptr) bool {
	for t.n < len(t.p) {
		n, errno := call(unix.SYS_WRITE, fd, t.p[t.n:])
		switch {
		case errno == unix.EAGAIN:
			return false
		case errno != 0:
			t.errno = errno
			return true
		}
		t.n += n
	}
	return true
}

func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// wrap words an error as package net does.
func (s *Socket) wrap(op string, err error) error {
	if raw, ok := err.(*net.OpError); ok {
		err = raw.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// Silent tells whether the peer of an idle connection has said nothing, nor closed it.
func (s *Socket) Silent() bool {
	silent := false
	if s.raw == nil {
		return true
	}
	err := s.raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&one)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		silent = errno == unix.EAGAIN || errno == unix.EINTR
	})
	return silent && err == nil
}
