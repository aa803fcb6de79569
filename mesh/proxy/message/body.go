package message

import "io"

// ReadyBody is a Body that knows whether its next Read returns at once: with
// bytes that are here already, or with the end. Writers use it to send head and
// content together and never to hold a head back behind content that has to come
// first. Layers that wrap a body should pass the question on with Ready.
type ReadyBody interface {
	Body
	Ready() bool
}

// Ready asks b; a body that does not know is taken for one that may wait.
func Ready(b Body) bool {
	r, ok := b.(ReadyBody)
	return ok && r.Ready()
}

// Bytes is a body in memory. Its Read returns io.EOF together with the last bytes.
type Bytes struct {
	rest    []byte
	trailer Header
}

// NewBytes makes a body of b, which must not change afterwards.
func NewBytes(b []byte, trailer Header) *Bytes { return &Bytes{b, trailer} }

// Read implements io.Reader.
func (b *Bytes) Read(p []byte) (int, error) {
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	if len(b.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Rest is what has not been read yet.
func (b *Bytes) Rest() []byte { return b.rest }

// Ready implements ReadyBody.
func (b *Bytes) Ready() bool { return true }

// Close implements io.Closer.
func (b *Bytes) Close() error {
	b.rest = nil
	return nil
}

// Trailer implements Body.
func (b *Bytes) Trailer() Header { return b.trailer }
