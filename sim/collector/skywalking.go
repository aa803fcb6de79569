package collector

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// decodeSegment reads a SegmentObject (skywalking/language-agent/Tracing.proto).
func decodeSegment(body []byte) ([]Span, error) {
	var trace, segment, service string
	var spans []Span
	var parents []string // numbers in the segment
	err := fields(body, func(number protowire.Number, data []byte, _ uint64) error {
		switch number {
		case 1:
			trace = string(data)
		case 2:
			segment = string(data)
		case 3:
			s, parent, err := skySpan(data)
			spans, parents = append(spans, s), append(parents, parent)
			return err
		case 4:
			service = string(data)
		}
		return nil
	})
	if err == nil && (trace == "" || segment == "") {
		err = errors.New("a segment without traceId or traceSegmentId")
	}
	if err != nil {
		return nil, err
	}
	for i := range spans {
		s := &spans[i]
		s.Trace, s.Service, s.ID = trace, service, segment+"."+s.ID
		if s.Parent == "" && parents[i] != "" {
			s.Parent = segment + "." + parents[i]
		}
	}
	return spans, nil
}

// skySpan reads a SpanObject: its ID is its number in the segment, as is parent; Parent is
// that of another segment.
func skySpan(message []byte) (s Span, parent string, err error) {
	s = Span{ID: "0", Kind: "server", Tags: map[string]string{}}
	var end time.Time
	err = fields(message, func(number protowire.Number, data []byte, n uint64) error {
		switch number {
		case 1:
			s.ID = fmt.Sprint(int32(n))
		case 2:
			if parent = ""; int32(n) >= 0 {
				parent = fmt.Sprint(int32(n))
			}
		case 3:
			s.Start = time.UnixMilli(int64(n))
		case 4:
			end = time.UnixMilli(int64(n))
		case 5:
			return skyReference(data, &s)
		case 6:
			s.Name = string(data)
		case 7:
			s.Tags["peer"] = string(data)
		case 8:
			s.Kind = map[uint64]string{0: "server", 1: "client"}[n]
		case 11:
			s.Tags["error"] = fmt.Sprint(n != 0)
		case 12:
			return skyTag(data, s.Tags)
		case 14:
			s.Tags["skipAnalysis"] = fmt.Sprint(n != 0)
		}
		return nil
	})
	s.Duration = end.Sub(s.Start)
	return s, parent, err
}

// skyReference reads a SegmentReference: the span of the caller.
func skyReference(message []byte, s *Span) error {
	segment, span := "", int32(0)
	err := fields(message, func(number protowire.Number, data []byte, n uint64) error {
		switch number {
		case 3:
			segment = string(data)
		case 4:
			span = int32(n)
		}
		return nil
	})
	s.Parent = fmt.Sprintf("%s.%d", segment, span)
	return err
}

func skyTag(message []byte, into map[string]string) error {
	var pair [2]string
	err := fields(message, func(number protowire.Number, data []byte, _ uint64) error {
		if number == 1 || number == 2 {
			pair[number-1] = string(data)
		}
		return nil
	})
	into[pair[0]] = pair[1]
	return err
}
