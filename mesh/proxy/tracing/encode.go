package tracing

import (
	"encoding/hex"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// zipkinSpan is a span of Zipkin's API, version 2. Times are microseconds.
type zipkinSpan struct {
	TraceID   string            `json:"traceId"`
	ParentID  string            `json:"parentId,omitempty"`
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	Name      string            `json:"name"`
	Timestamp int64             `json:"timestamp"`
	Duration  int64             `json:"duration"`
	Shared    bool              `json:"shared,omitempty"`
	Local     zipkinEndpoint    `json:"localEndpoint"`
	Tags      map[string]string `json:"tags"`
}

type zipkinEndpoint struct {
	ServiceName string `json:"serviceName"`
	IPv4        string `json:"ipv4,omitempty"`
}

func zipkinJSON(batch []*Span) []byte {
	list := make([]zipkinSpan, len(batch))
	for i, s := range batch {
		kind := "CLIENT"
		if s.server {
			kind = "SERVER"
		}
		tags := make(map[string]string, len(s.tags))
		for _, t := range s.tags {
			tags[t.Name] = t.Value
		}
		list[i] = zipkinSpan{TraceID: s.trace, ParentID: s.parent, ID: s.id, Kind: kind, Name: s.name,
			Timestamp: s.start.UnixMicro(), Duration: max(s.duration.Microseconds(), 1), Shared: s.shared,
			Local: zipkinEndpoint{s.tracer.service, s.local}, Tags: tags}
	}
	text, err := json.Marshal(list) // sorts the tags
	if err != nil {
		return []byte("[]") // no string is no JSON
	}
	return text
}

// otlpMethod is OpenTelemetry's service for spans over gRPC.
const otlpMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// The numbers of fields in opentelemetry/proto/{common,resource,trace}/v1.
const (
	requestResourceSpans = 1
	resourceSpansOwner   = 1
	resourceSpansScoped  = 2
	resourceAttributes   = 1
	scopedSpans          = 2

	spanTrace      = 1
	spanID         = 2
	spanState      = 3
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanStatus     = 15

	kindServer  = 2
	kindClient  = 3
	statusCode  = 3
	statusError = 2

	pairKey     = 1
	pairValue   = 2
	valueString = 1
)

// otlp is an ExportTraceServiceRequest: one resource per service.
func otlp(batch []*Span) []byte {
	var out []byte
	for len(batch) > 0 {
		service := batch[0].tracer.service
		var spans []byte
		var rest []*Span
		for _, s := range batch {
			if s.tracer.service != service {
				rest = append(rest, s)
				continue
			}
			spans = appendMessage(spans, scopedSpans, s.otlp())
		}
		owner := appendPair(nil, resourceAttributes, message.Field{Name: "service.name", Value: service})
		resource := appendMessage(nil, resourceSpansOwner, owner)
		resource = appendMessage(resource, resourceSpansScoped, spans)
		out = appendMessage(out, requestResourceSpans, resource)
		batch = rest
	}
	return out
}

func (s *Span) otlp() []byte {
	trace := s.trace
	if len(trace) == 16 {
		trace = "0000000000000000" + trace
	}
	b := appendMessage(nil, spanTrace, digits(trace))
	b = appendMessage(b, spanID, digits(s.id))
	if s.state != "" {
		b = appendMessage(b, spanState, []byte(s.state))
	}
	if s.parent != "" {
		b = appendMessage(b, spanParent, digits(s.parent))
	}
	b = appendMessage(b, spanName, []byte(s.name))
	kind := uint64(kindClient)
	if s.server {
		kind = kindServer
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, spanKind, protowire.VarintType), kind)
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanStart, protowire.Fixed64Type), uint64(s.start.UnixNano()))
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanEnd, protowire.Fixed64Type), uint64(s.start.Add(s.duration).UnixNano()))
	for _, t := range s.tags {
		b = appendPair(b, spanAttributes, t)
	}
	if s.failed {
		status := protowire.AppendVarint(protowire.AppendTag(nil, statusCode, protowire.VarintType), statusError)
		b = appendMessage(b, spanStatus, status)
	}
	return b
}

func appendMessage(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

func appendPair(b []byte, field protowire.Number, f message.Field) []byte {
	pair := appendMessage(nil, pairKey, []byte(f.Name))
	pair = appendMessage(pair, pairValue, appendMessage(nil, valueString, []byte(f.Value)))
	return appendMessage(b, field, pair)
}

// digits are the bytes of an id, which is hexadecimal.
func digits(id string) []byte {
	b, _ := hex.DecodeString(id)
	return b
}
