package engine

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// upgraded is an upgraded connection whose exchange ends with it.
type upgraded struct {
	io.ReadWriteCloser
	exchange       *exchange
	received, sent atomic.Int64 // bytes from and to the client
	once           sync.Once
}

func (x *exchange) upgraded(c io.ReadWriteCloser) *upgraded {
	x.handler.http.upgrades.Inc()
	x.handler.http.upgraded.Add(1)
	return &upgraded{ReadWriteCloser: c, exchange: x}
}

// Read implements io.Reader.
func (u *upgraded) Read(b []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(b)
	u.sent.Add(int64(n))
	return n, err
}

// Write implements io.Writer.
func (u *upgraded) Write(b []byte) (int, error) {
	n, err := u.ReadWriteCloser.Write(b)
	u.received.Add(int64(n))
	return n, err
}

// CloseWrite ends the direction to the server.
func (u *upgraded) CloseWrite() error {
	if half, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements io.Closer: the exchange is over, and counted.
func (u *upgraded) Close() error {
	err := u.ReadWriteCloser.Close()
	u.once.Do(func() {
		x := u.exchange
		x.handler.http.upgraded.Add(-1)
		x.Request.Stream.BytesReceived = u.received.Load()
		x.bytes = u.sent.Load()
		x.end()
	})
	return err
}
