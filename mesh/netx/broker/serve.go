package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Source opens the sockets that a broker hands over.
type Source interface {
	netx.Network
	// Hand gives a connection or listener of this network away: its socket, and how the
	// host sees it. A connection is not used here any more; a listener's port stays taken
	// until it is closed here, too.
	Hand(socket any) (*os.File, Flow, error)
	// Accepted is a connection that another process accepted, as the host sees it.
	Accepted(real Flow) Flow
}

// askLimit is how long a client may take to put its question.
const askLimit = 5 * time.Second

// Broker answers the clients of one network.
type Broker struct {
	source   Source
	listener *net.UnixListener
	cancel   context.CancelFunc
	clients  sync.WaitGroup
}

// Serve answers on a Unix socket until Close.
func Serve(path string, source Source) (*Broker, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Broker{source: source, listener: l, cancel: cancel}
	b.clients.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			b.clients.Go(func() {
				defer c.Close()
				b.answer(ctx, c)
			})
		}
	})
	return b, nil
}

// Close ends the broker; sockets that it gave away stay open.
func (b *Broker) Close() error {
	b.cancel()
	err := b.listener.Close()
	b.clients.Wait()
	return err
}

// answer serves one question; a client that goes away meanwhile ends it.
func (b *Broker) answer(ctx context.Context, c *net.UnixConn) {
	_ = c.SetReadDeadline(time.Now().Add(askLimit))
	var q question
	if _, err := read(c, &q); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	unwatch := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer unwatch()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		_, _ = c.Read(make([]byte, 1)) // nothing comes but the end
		gone()
	}()
	a, file, release := b.serve(ctx, q)
	_ = write(c, a, file)
	if file != nil {
		_ = file.Close()
	}
	if release != nil {
		<-ctx.Done()
		release()
	}
	gone()
	<-watching
}

// serve opens what was asked for. release, where it is not nil, is called when the client goes away.
func (b *Broker) serve(ctx context.Context, q question) (a answer, file *os.File, release func()) {
	var err error
	switch q.Op {
	case opDial:
		var conn net.Conn
		if conn, err = b.source.DialFrom(ctx, q.Source, q.Addr); err == nil {
			if file, a.Flow, err = b.source.Hand(conn); err != nil {
				_ = conn.Close()
			}
		}
	case opListen:
		var l net.Listener
		if l, err = b.source.Listen(ctx, q.Addr); err == nil {
			release = func() { _ = l.Close() }
			if file, a.Flow, err = b.source.Hand(l); err != nil {
				release()
				release = nil
			}
		}
	case opAccepted:
		a.Flow = b.source.Accepted(Flow{Local: q.To, Remote: q.From})
	case opLookup:
		a.Addrs, err = b.source.LookupHost(ctx, q.Addr)
	default:
		err = errors.New("broker: unknown question " + q.Op)
	}
	if err != nil {
		return failed(err), nil, nil
	}
	return a, file, release
}
