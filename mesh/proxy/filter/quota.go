package filter

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
)

// quota is what clients hear about a limit: the headers of the third draft of RateLimit
// header fields for HTTP (Envoy: enable_x_ratelimit_headers, DRAFT_VERSION_03).
type quota struct {
	limit, remaining uint64
	reset            uint64 // seconds
	policy           string // ", 10;w=60", one for each window
}

// tell adds the headers to an answer, whoever gives it.
func (q *quota) tell(p *message.Response, err error) (*message.Response, error) {
	if q == nil {
		return p, err
	}
	add := func(h message.Header) message.Header {
		h = h.Clone()
		h.Add("x-ratelimit-limit", strconv.FormatUint(q.limit, 10)+q.policy)
		h.Add("x-ratelimit-remaining", strconv.FormatUint(q.remaining, 10))
		h.Add("x-ratelimit-reset", strconv.FormatUint(q.reset, 10))
		return h
	}
	if r, ok := err.(*reply.Reply); ok {
		told := *r
		told.Header = add(r.Header)
		return p, &told
	}
	if p != nil {
		p.Header = add(p.Header)
	}
	return p, err
}

// quota is what a bucket says of itself: the reset is the time to the next token.
func (b *bucket) quota() *quota {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &quota{limit: uint64(b.max), remaining: uint64(b.tokens + rounding)}
	if q.remaining == 0 {
		q.reset = uint64(math.Ceil((1 - b.tokens) / b.rate))
	}
	return q
}

// windows are the seconds of a rate limit service's units, by number.
var windows = []uint64{0, 1, 60, 3600, 86400, 2592000, 31536000, 604800}

// descriptorStatus is what a rate limit service says of one descriptor.
type descriptorStatus struct {
	limited            bool // it has a limit
	perUnit, unit      uint64
	name               string
	remaining, seconds uint64
}

func readStatus(m []byte) (s descriptorStatus, err error) {
	err = eachField(m, func(n protowire.Number, bytes []byte, number uint64) error {
		switch n {
		case 2:
			s.limited = true
			return eachField(bytes, func(n protowire.Number, bytes []byte, number uint64) error {
				switch n {
				case 1:
					s.perUnit = number
				case 2:
					s.unit = number
				case 3:
					s.name = string(bytes)
				}
				return nil
			})
		case 3:
			s.remaining = number
		case 4:
			return eachField(bytes, func(n protowire.Number, _ []byte, number uint64) error {
				if n == 1 {
					s.seconds = number
				}
				return nil
			})
		}
		return nil
	})
	return s, err
}

// quotaOf is the quota of the descriptor of which least remains; the policy names all
// limits. It is nil where no descriptor has one.
func quotaOf(statuses []descriptorStatus) *quota {
	var q *quota
	policy := ""
	for _, s := range statuses {
		if !s.limited {
			continue
		}
		if q == nil || s.remaining < q.remaining {
			q = &quota{limit: s.perUnit, remaining: s.remaining, reset: s.seconds}
		}
		if s.unit == 0 || s.unit >= uint64(len(windows)) {
			continue
		}
		policy += fmt.Sprintf(", %d;w=%d", s.perUnit, windows[s.unit])
		if s.name != "" {
			policy += fmt.Sprintf(";name=%q", s.name)
		}
	}
	if q != nil {
		q.policy = policy
	}
	return q
}
