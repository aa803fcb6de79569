package prometheus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Page is what a target of a real cluster answered to a scrape.
type Page struct {
	Job, Instance, Namespace, Pod string
	// Text is in Prometheus' text format; nil: there was no answer.
	Text []byte
	// Rewrite, which may be nil, gives a label's value another form; false drops the series.
	Rewrite func(value string) (string, bool)
	// Since has the target's counters of metrics with this prefix begin at zero with the
	// first scrape: what was counted before is no concern of the world.
	Since string
}

// ScrapePages takes the values of all pages. Series of a target that did not answer, or
// is no longer among them, end here, with Prometheus' mark.
func (p *Prometheus) ScrapePages(now time.Time, pages []Page) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now.UnixMilli()
	present := make(map[string]bool)
	var errs []error
	for _, page := range pages {
		present[page.Instance] = true
		known := p.pages[page.Instance]
		if known == nil {
			t := Target{Job: page.Job, Instance: page.Instance, Namespace: page.Namespace, Pod: page.Pod}
			known = &pageTarget{labels: t, up: p.db.series(t.labels("up", nil, "")), live: map[*series]bool{}}
			p.pages[page.Instance] = known
		}
		if err := known.scrape(p.db, at, page); err != nil {
			errs = append(errs, fmt.Errorf("metrics of %s: %w", page.Pod, err))
		}
	}
	for instance, t := range p.pages {
		if !present[instance] {
			t.up.append(at, math.Float64frombits(value.StaleNaN))
			t.end(at, nil)
			delete(p.pages, instance)
		}
	}
	return errors.Join(errs...)
}

// pageTarget is a target that answers with text.
type pageTarget struct {
	labels Target
	up     *series
	live   map[*series]bool
	base   map[*series]float64 // what counters had at first; nil: not asked yet
}

func (t *pageTarget) scrape(db *database, at int64, page Page) error {
	if page.Text == nil {
		t.up.append(at, 0)
		t.end(at, nil)
		return nil
	}
	t.up.append(at, 1)
	seen := make(map[*series]bool)
	base := make(map[*series]float64)
	defer func() {
		t.end(at, seen)
		if t.base == nil {
			t.base = base
		}
	}()
	for number, line := range strings.Split(string(page.Text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		own, v, err := parseLine(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number+1, err)
		}
		if all, keep := t.named(own, page.Rewrite); keep {
			s := db.series(all)
			if page.Since != "" && strings.HasPrefix(own.Get(nameLabel), page.Since) {
				if t.base == nil {
					base[s] = v
					continue
				}
				if v -= t.base[s]; v == 0 {
					continue
				}
			}
			s.append(at, v)
			seen[s] = true
		}
	}
	return nil
}

// parseLine reads NAME{LABEL="VALUE",…} NUMBER, without or with a time, which is not used:
// a scrape has its own.
func parseLine(line string) (labels.Labels, float64, error) {
	bad := func(what string) (labels.Labels, float64, error) {
		return labels.EmptyLabels(), 0, fmt.Errorf("%s in %.80q", what, line)
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	end := strings.IndexAny(line, "{ \t")
	if end < 1 {
		return bad("no name and value")
	}
	b.Set(nameLabel, line[:end])
	rest := line[end:]
	if rest[0] == '{' {
		rest = rest[1:]
		for {
			rest = strings.TrimLeft(rest, ", ")
			if after, ok := strings.CutPrefix(rest, "}"); ok {
				rest = after
				break
			}
			name, after, ok := strings.Cut(rest, "=")
			if !ok || !strings.HasPrefix(after, `"`) {
				return bad("no label")
			}
			value, length, ok := unquote(after)
			if !ok {
				return bad("a label without its end")
			}
			b.Set(strings.TrimSpace(name), value)
			rest = after[length:]
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return bad("no value")
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return bad("no number")
	}
	return b.Labels(), v, nil
}

// unquote reads a value in double quotes, in which \\, \" and \n are escaped, and tells
// how long it is with the quotes.
func unquote(s string) (value string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1, true
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

// named are the labels that a series has in the database.
func (t *pageTarget) named(own labels.Labels, rewrite func(string) (string, bool)) (labels.Labels, bool) {
	b := labels.NewBuilder(labels.EmptyLabels())
	keep := true
	own.Range(func(l labels.Label) {
		v := l.Value
		if rewrite != nil && l.Name != nameLabel {
			var ok bool
			v, ok = rewrite(v)
			keep = keep && ok
		}
		b.Set(l.Name, v)
	})
	for name, v := range map[string]string{"job": t.labels.Job, "instance": t.labels.Instance, "namespace": t.labels.Namespace, "pod": t.labels.Pod} {
		if v != "" {
			b.Set(name, v)
		}
	}
	return b.Labels(), keep
}

// end marks the series that are no longer there.
func (t *pageTarget) end(at int64, seen map[*series]bool) {
	for s := range t.live {
		if !seen[s] {
			s.append(at, math.Float64frombits(value.StaleNaN))
		}
	}
	t.live = seen
}
