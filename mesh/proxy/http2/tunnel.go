package http2

import (
	"golang.org/x/net/http2"
)

// Tunnel is a stream whose frames carry the bytes of another protocol (RFC 9113, 8.5):
// one goroutine writes, one reads, and each direction ends on its own.
type Tunnel struct{ stream *stream }

// Read implements io.Reader.
func (t *Tunnel) Read(b []byte) (int, error) {
	for {
		n, err := t.stream.Read(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// Write implements io.Writer.
func (t *Tunnel) Write(b []byte) (int, error) {
	if err := t.stream.send(b, false); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends the direction to the peer.
func (t *Tunnel) CloseWrite() error {
	s := t.stream
	s.c.mu.Lock()
	ended := s.sentEnd
	s.c.mu.Unlock()
	if ended {
		return nil
	}
	return s.send(nil, true)
}

// Close ends both directions. A peer whose bytes nobody reads any more is asked to stop,
// without an error.
func (t *Tunnel) Close() error {
	s := t.stream
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.finished {
		return nil
	}
	if s.writable() == nil && !s.sentEnd {
		must(s.c.framer.WriteData(s.id, true, nil))
		s.ended(true)
	}
	s.reset(http2.ErrCodeNo, "")
	return nil
}
