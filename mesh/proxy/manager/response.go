package manager

import (
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// dateFormat is RFC 9110's, 5.6.7.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// completeResponse sets what every response carries: the server's name, which is ours
// whatever the upstream said, and a date where it said none.
func (s *session) completeResponse(m *Manager, q *message.Request, p *message.Response) {
	hasDate, hasServer := false, false
	for i := range p.Header {
		switch f := &p.Header[i]; f.Name {
		case "date":
			hasDate = true
		case "server":
			f.Value = m.server
			hasServer = true
		}
	}
	if !hasDate {
		p.Header.Add("date", s.today(q.Stream))
	}
	if !hasServer {
		p.Header.Add("server", m.server)
	}
	if m.config.AlwaysSetRequestID {
		if id := q.Header.Get("x-request-id"); id != "" {
			p.Header.Set("x-request-id", id)
		}
	}
}

// today is the date field's value, made once per second.
func (s *session) today(x *message.Stream) string {
	now := x.Times.AnswerBegin // a moment ago, where an upstream answered
	if now.IsZero() {
		now = time.Now()
	}
	if second := now.Unix(); s.dateUntil != second {
		s.date, s.dateUntil = now.UTC().Format(dateFormat), second
	}
	return s.date
}
