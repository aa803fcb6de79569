package compile

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// istioStatsOf compiles stats.PluginConfig as JSON, in which fields go by either name.
func istioStatsOf(at place, s *structpb.Struct) snapshot.IstioStats {
	var c snapshot.IstioStats
	for _, name := range slices.Sorted(maps.Keys(s.GetFields())) {
		v := s.GetFields()[name]
		switch snakeCase(name) {
		case "reporter":
			c.Reporter = v.GetStringValue()
		case "disable_host_header_fallback":
			c.NoHostFallback = v.GetBoolValue()
		case "metrics":
			for i, m := range v.GetListValue().GetValues() {
				c.Metrics = append(c.Metrics, metricChange(at.field("value").field(name).index(i), m.GetStructValue()))
			}
		case "debug", "stat_prefix", "field_separator", "value_separator", "tcp_reporting_duration": // change nothing that Prometheus would see here
		default:
			at.field("value").field(name).errorf("not supported")
		}
	}
	return c
}

func metricChange(at place, s *structpb.Struct) snapshot.MetricChange {
	var m snapshot.MetricChange
	for _, name := range slices.Sorted(maps.Keys(s.GetFields())) {
		v := s.GetFields()[name]
		switch snakeCase(name) {
		case "name":
			m.Name = v.GetStringValue()
		case "drop":
			m.Drop = v.GetBoolValue()
		case "tags_to_remove":
			for _, tag := range v.GetListValue().GetValues() {
				m.Remove = append(m.Remove, tag.GetStringValue())
			}
		case "dimensions":
			m.Labels = map[string]string{}
			for _, label := range slices.Sorted(maps.Keys(v.GetStructValue().GetFields())) {
				text := v.GetStructValue().GetFields()[label].GetStringValue()
				if _, err := attributes.Compile(text); err != nil {
					at.field(name).key(label).errorf("%v", err)
				}
				m.Labels[label] = text
			}
		default:
			at.field(name).errorf("not supported")
		}
	}
	if m.Name == "" {
		at.errorf("the metric has no name")
	}
	return m
}

// snakeCase is "tags_to_remove" for "tagsToRemove".
func snakeCase(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
