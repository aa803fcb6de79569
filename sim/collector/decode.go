package collector

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// decodeZipkin reads a list of spans of Zipkin's API, version 2.
func decodeZipkin(body []byte) ([]Span, error) {
	var list []struct {
		TraceID       string
		ID            string
		ParentID      string
		Kind, Name    string
		Timestamp     int64
		Duration      int64
		Tags          map[string]string
		LocalEndpoint struct{ ServiceName string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	spans := make([]Span, 0, len(list))
	for _, z := range list {
		if z.TraceID == "" || z.ID == "" {
			return nil, errors.New("a span without traceId or id")
		}
		spans = append(spans, Span{Trace: z.TraceID, ID: z.ID, Parent: z.ParentID, Service: z.LocalEndpoint.ServiceName, Name: z.Name,
			Kind: strings.ToLower(z.Kind), Start: time.UnixMicro(z.Timestamp), Duration: time.Duration(z.Duration) * time.Microsecond, Tags: z.Tags})
	}
	return spans, nil
}

// fields calls f for each field of a protobuf message; number fields are in n.
func fields(message []byte, f func(number protowire.Number, data []byte, n uint64) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		var data []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var small uint32
			small, size = protowire.ConsumeFixed32(message)
			n = uint64(small)
		default:
			return fmt.Errorf("wire type %d", kind)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := f(number, data, n); err != nil {
			return err
		}
		message = message[size:]
	}
	return nil
}

// decodeOTLP reads an ExportTraceServiceRequest
// (opentelemetry/proto/collector/trace/v1). Attributes that are not scalar are left out.
func decodeOTLP(body []byte) ([]Span, error) {
	var spans []Span
	err := fields(body, func(number protowire.Number, data []byte, _ uint64) error {
		if number != 1 { // resource_spans
			return nil
		}
		resource := map[string]string{}
		var own []Span
		err := fields(data, func(number protowire.Number, data []byte, _ uint64) error {
			switch number {
			case 1: // resource: its attributes
				return fields(data, func(number protowire.Number, data []byte, _ uint64) error {
					if number == 1 {
						return attribute(data, resource)
					}
					return nil
				})
			case 2: // scope_spans: its spans
				return fields(data, func(number protowire.Number, data []byte, _ uint64) error {
					if number != 2 {
						return nil
					}
					s, err := otlpSpan(data)
					own = append(own, s)
					return err
				})
			}
			return nil
		})
		for i := range own {
			own[i].Service = resource["service.name"]
		}
		spans = append(spans, own...)
		return err
	})
	return spans, err
}

func otlpSpan(message []byte) (Span, error) {
	s := Span{Tags: map[string]string{}}
	var end time.Time
	err := fields(message, func(number protowire.Number, data []byte, n uint64) error {
		switch number {
		case 1:
			s.Trace = hex.EncodeToString(data)
		case 2:
			s.ID = hex.EncodeToString(data)
		case 4:
			s.Parent = hex.EncodeToString(data)
		case 5:
			s.Name = string(data)
		case 6:
			s.Kind = map[uint64]string{2: "server", 3: "client"}[n]
		case 7:
			s.Start = time.Unix(0, int64(n))
		case 8:
			end = time.Unix(0, int64(n))
		case 9:
			return attribute(data, s.Tags)
		}
		return nil
	})
	if err == nil && (len(s.Trace) != 32 || len(s.ID) != 16) {
		err = errors.New("a span without trace_id or span_id")
	}
	s.Duration = end.Sub(s.Start)
	return s, err
}

// attribute reads a KeyValue whose value is scalar.
func attribute(message []byte, into map[string]string) error {
	key, value := "", ""
	err := fields(message, func(number protowire.Number, data []byte, _ uint64) error {
		switch number {
		case 1:
			key = string(data)
		case 2:
			return fields(data, func(number protowire.Number, data []byte, n uint64) error {
				switch number {
				case 1:
					value = string(data)
				case 2:
					value = fmt.Sprint(n != 0)
				case 3:
					value = fmt.Sprint(int64(n))
				case 4:
					value = fmt.Sprint(math.Float64frombits(n))
				}
				return nil
			})
		}
		return nil
	})
	into[key] = value
	return err
}
