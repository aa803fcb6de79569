package load

import (
	"context"
	"time"

	"fortio.org/fortio/periodic"
)

// thread is one client of a load: a connection to each host that its URLs have, used one
// at a time. One goroutine uses it.
type thread struct {
	number   int
	pipeline *pipeline
	ctx      context.Context // of the whole run: fortio's has no end
	rated    bool
	each     func(Record)

	callers []*caller // in order of their first call
	calls   int64     // in all, warm-up included: request ids go on
	first   int64     // number of the first call that counts
	records []Record
	sockets int64
}

// begin forgets what was called so far; connections stay.
func (t *thread) begin(each func(Record)) {
	t.records, t.first, t.each = nil, t.calls, each
	for _, c := range t.callers {
		c.records, c.first = nil, nil
	}
}

// call makes the next call; a zero intended start is now.
func (t *thread) call(intended time.Time) *Record {
	q := t.pipeline.pick(t.number, t.calls-t.first)
	c := t.caller(q)
	t.records = append(t.records, *c.call(t.ctx, t.calls, intended))
	c.records = c.records[:0] // the thread keeps them, in order over all its connections
	t.calls++
	r := &t.records[len(t.records)-1]
	if t.each != nil {
		t.each(*r)
	}
	return r
}

// caller is the one whose connection leads where a request goes.
func (t *thread) caller(q *request) *caller {
	for _, c := range t.callers {
		if c.request == q || c.request.where() == q.where() {
			c.request = q
			return c
		}
	}
	c := &caller{request: q, thread: t.number, keepAlive: true, sockets: &t.sockets}
	t.callers = append(t.callers, c)
	return c
}

func (t *thread) close() {
	for _, c := range t.callers {
		c.close()
	}
}

// all are the callers of some threads; a thread's records go with its first.
func all(threads []*thread) []*caller {
	var list []*caller
	for _, t := range threads {
		list = append(list, &caller{records: t.records})
		list = append(list, t.callers...)
	}
	return list
}

// Run implements periodic.Runnable.
func (t *thread) Run(_ context.Context, _ periodic.ThreadID) (bool, string) {
	if t.calls == t.first && !t.rated && !sleepUntil(t.ctx, time.Now().Add(time.Duration(t.number)*apart)) {
		return false, "stopped"
	}
	if t.ctx.Err() != nil {
		return false, "stopped"
	}
	r := t.call(time.Time{})
	if r.Error != "" && !t.rated && r.Done.Sub(r.Sent) < errorPause {
		sleepUntil(t.ctx, r.Done.Add(errorPause))
	}
	return answered(*r), r.Error
}

// answered tells whether a call was answered well.
func answered(r Record) bool {
	return r.Error == "" && r.Status < 400 && (r.GRPC == "" || r.GRPC == "0")
}
