package run

import "context"

// background is a load that runs.
type background struct {
	done      chan struct{}
	exchanges []Exchange // after done
	err       error
}

// Background is the load that send makes, begun at once.
func Background(send func() ([]Exchange, error)) Load {
	b := &background{done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.exchanges, b.err = send()
	}()
	return b
}

// Traffic implements Load.
func (b *background) Traffic(ctx context.Context) ([]Exchange, error) {
	select {
	case <-b.done:
		return b.exchanges, b.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
