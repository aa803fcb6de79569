package run

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// exemplify names for each expectation that failed the one call that shows it best, and
// returns the calls that it has named.
func (x *execution) exemplify(checks []result.Check, s *sent) []int {
	var named []int
	for i := range checks {
		c := &checks[i]
		if c.Status == result.Passed || len(s.exchanges) == 0 {
			continue
		}
		call := x.exemplar(c.Expression, s)
		if c.RequestID = s.exchanges[call].RequestID; c.RequestID != "" {
			named = append(named, call)
		}
	}
	return named
}

var quoted = regexp.MustCompile(`"[^"]*"|'[^']*'`)

// exemplar is the index of the call that shows best why an expectation about calls does
// not hold. Of times that is the slowest one (of the least time, the fastest); of attempts the one
// with the most. Of a status, a flag or a workload that is named it is the first that has
// it where there are too many, the first that has it not where there are too few, and
// where that is not clear the first of the fewer ones. Else it is the first call that
// failed, or the first.
func (x *execution) exemplar(expression string, s *sent) int {
	mentions := func(name string) bool { return x.language.Mentions(spec.Expression{Text: expression}, name) }
	switch {
	case mentions("latency") && strings.Contains(expression, ".min"):
		return most(s, func(i int) int { return -int(s.answers[i].took) })
	case mentions("latency"):
		return most(s, func(i int) int { return int(s.answers[i].took) })
	case mentions("attempts"):
		return most(s, func(i int) int { return len(x.log.of(&s.exchanges[i])) })
	}
	for _, text := range quoted.FindAllString(expression, -1) {
		var with, without []int
		for i := range s.answers {
			if s.has(i, text[1:len(text)-1]) {
				with = append(with, i)
			} else {
				without = append(without, i)
			}
		}
		switch many, clear := tooMany(expression, text, len(with)); {
		case len(with) == 0 || len(without) == 0:
		case clear && many, !clear && len(with) < len(without):
			return with[0]
		default:
			return without[0]
		}
	}
	return max(slices.IndexFunc(s.answers, func(a answer) bool { return failure(a.status) }), 0)
}

// tooMany tells whether a comparison of what is counted under a key with a number fails
// because there are too many of them; it is not clear where there is no such comparison.
func tooMany(expression, key string, have int) (many, clear bool) {
	comparison := regexp.MustCompile(regexp.QuoteMeta(key+"]") + `\s*(==|>=|<=|>|<)\s*(\d+)`).FindStringSubmatch(expression)
	if comparison == nil {
		return false, false
	}
	want, err := strconv.Atoi(comparison[2])
	switch comparison[1] {
	case ">", ">=":
		return false, err == nil
	case "<", "<=":
		return true, err == nil
	}
	return have > want, err == nil && have != want
}

// most is the first call of those for which a number is the largest.
func most(s *sent, number func(int) int) int {
	best := 0
	for i := range s.answers {
		if number(i) > number(best) {
			best = i
		}
	}
	return best
}

// has tells whether a call's answer has something that expressions name.
func (s *sent) has(i int, key string) bool {
	a, e := s.answers[i], &s.exchanges[i]
	return key != "" && (a.status == key || a.workload == key || e.GRPC == key || e.Kind == key || slices.Contains(a.flags, key))
}
