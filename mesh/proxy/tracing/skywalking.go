package tracing

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// segmentMethod is SkyWalking's service for segments: a stream of them.
const segmentMethod = "/skywalking.v3.TraceSegmentReportService/collect"

// segment is what SkyWalking keeps of one exchange: an entry span, and below it an exit
// span for each try. Segments are always reported; those of exchanges that are not
// sampled are marked as not to be analysed, as Envoy does.
type segment struct {
	id   string
	from *reference // nil: the trace begins here
	skip bool
	// broken: the context that came is not valid, so that there are no spans.
	broken bool
	exits  []exit
}

// reference is the context that came: sw8, SkyWalking's cross process propagation
// headers, version 3.
type reference struct {
	trace, segment              string
	span                        int64
	service, instance, endpoint string
	address                     string // of this proxy, as the caller knows it
}

// exit is one try. It lasts until the next one, or the end.
type exit struct {
	path  string
	to    netip.AddrPort
	start time.Time
}

// startSegment begins the span of a request as SkyWalking has it.
func (s *Span) startSegment(r *message.Request) {
	g := &segment{skip: r.Stream.TraceReason == message.NotTraced}
	s.segment, s.sampled, s.name = g, true, r.Path
	ids, key := s.tracer.ids, keyOf(r)
	g.id = uuid(ids.Uint64("segment "+key), ids.Uint64("segment 2 "+key))
	s.id, s.trace = g.id, uuid(ids.Uint64("trace "+key), ids.Uint64("trace 2 "+key))
	if value, came := r.Header.Lookup("sw8"); came {
		from, err := parseReference(value)
		if err != nil {
			g.broken, s.sampled, s.trace, s.id = true, false, "", ""
			return
		}
		g.from, g.skip, s.trace = from, false, from.trace
	}
	s.requestTags(r)
}

func uuid(a, b uint64) string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

// parseReference reads SAMPLE-TRACE-SEGMENT-SPAN-SERVICE-INSTANCE-ENDPOINT-ADDRESS, whose
// texts are base64. Whether the caller would have it sampled changes nothing.
func parseReference(value string) (*reference, error) {
	parts := strings.Split(value, "-")
	if len(parts) != 8 || parts[0] != "0" && parts[0] != "1" {
		return nil, fmt.Errorf("sw8 %q has not the eight parts that it should have", value)
	}
	span, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("sw8: the span %q is no number", parts[3])
	}
	r := &reference{span: span}
	for i, into := range map[int]*string{1: &r.trace, 2: &r.segment, 4: &r.service, 5: &r.instance, 6: &r.endpoint, 7: &r.address} {
		text, err := base64.StdEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, fmt.Errorf("sw8: part %d: %w", i, err)
		}
		*into = string(text)
	}
	return r, nil
}

// Try implements message.TriedSpan: the context tells of the exit span.
func (s *Span) Try(h *message.Header, path string, to netip.AddrPort, at time.Time) {
	g := s.segment
	if g == nil || g.broken || !s.tracer.config.ChildSpans {
		return
	}
	g.exits = append(g.exits, exit{path, to, at})
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	h.Set("sw8", strings.Join([]string{"1", encode(s.trace), encode(g.id), strconv.Itoa(len(g.exits)),
		encode(s.tracer.service), encode(s.instance()), encode(s.name), encode(to.String())}, "-"))
}

func (s *Span) instance() string { return cmp.Or(s.tracer.provider.Instance, s.tracer.hub.o.NodeID) }

// The numbers of fields, and values, in SkyWalking's language-agent/Tracing.proto.
const (
	segmentTrace    = 1
	segmentID       = 2
	segmentSpans    = 3
	segmentService  = 4
	segmentInstance = 5

	skySpanID        = 1
	skySpanParent    = 2
	skySpanStart     = 3
	skySpanEnd       = 4
	skySpanRefs      = 5
	skySpanOperation = 6
	skySpanPeer      = 7
	skySpanType      = 8
	skySpanLayer     = 9
	skySpanComponent = 10
	skySpanError     = 11
	skySpanTags      = 12
	skySpanSkip      = 14

	refTrace    = 2
	refSegment  = 3
	refSpan     = 4
	refService  = 5
	refInstance = 6
	refEndpoint = 7
	refAddress  = 8

	typeExit       = 1
	layerHTTP      = 3
	componentEnvoy = 9000
)

// encode is the SegmentObject. Times are milliseconds.
func (g *segment) encode(s *Span) []byte {
	end := s.start.Add(s.duration)
	b := appendText(nil, segmentTrace, s.trace)
	b = appendText(b, segmentID, g.id)
	entry := g.span(0, -1, s.start, end, s.name)
	if r := g.from; r != nil {
		ref := appendText(nil, refTrace, r.trace)
		ref = appendText(ref, refSegment, r.segment)
		ref = appendNumber(ref, refSpan, r.span)
		ref = appendText(ref, refService, r.service)
		ref = appendText(ref, refInstance, r.instance)
		ref = appendText(ref, refEndpoint, r.endpoint)
		entry = appendMessage(entry, skySpanRefs, appendText(ref, refAddress, r.address))
	}
	entry = s.finish(entry, s.tags)
	b = appendMessage(b, segmentSpans, entry)
	for i, x := range g.exits {
		until := end
		if i+1 < len(g.exits) {
			until = g.exits[i+1].start
		}
		span := appendText(g.span(int64(i+1), 0, x.start, until, x.path), skySpanPeer, x.to.String())
		span = appendNumber(span, skySpanType, typeExit)
		b = appendMessage(b, segmentSpans, s.finish(span, []message.Field{{Name: "component", Value: "proxy"}}))
	}
	b = appendText(b, segmentService, s.tracer.service)
	return appendText(b, segmentInstance, s.instance())
}

func (g *segment) span(id, parent int64, start, end time.Time, operation string) []byte {
	b := appendNumber(nil, skySpanID, id)
	b = appendNumber(b, skySpanParent, parent)
	b = appendNumber(b, skySpanStart, start.UnixMilli())
	b = appendNumber(b, skySpanEnd, end.UnixMilli())
	b = appendText(b, skySpanOperation, operation)
	b = appendNumber(b, skySpanLayer, layerHTTP)
	b = appendNumber(b, skySpanComponent, componentEnvoy)
	if g.skip {
		b = appendNumber(b, skySpanSkip, 1)
	}
	return b
}

func (s *Span) finish(b []byte, tags []message.Field) []byte {
	if s.failed {
		b = appendNumber(b, skySpanError, 1)
	}
	for _, t := range tags {
		b = appendMessage(b, skySpanTags, appendText(appendText(nil, pairKey, t.Name), pairValue, t.Value))
	}
	return b
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return appendMessage(b, field, []byte(text))
}

func appendNumber(b []byte, field protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}
