package compile

import (
	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	celpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// logFilter compiles what picks the exchanges of a log.
func logFilter(at place, m *accesslogpb.AccessLogFilter) snapshot.LogFilter {
	var f snapshot.LogFilter
	each := func(at place, list []*accesslogpb.AccessLogFilter) (out []snapshot.LogFilter) {
		for i, one := range list {
			out = append(out, logFilter(at.field("filters").index(i), one))
		}
		return out
	}
	switch s := m.GetFilterSpecifier().(type) {
	case *accesslogpb.AccessLogFilter_ResponseFlagFilter:
		f.Flags = s.ResponseFlagFilter.GetFlags()
	case *accesslogpb.AccessLogFilter_StatusCodeFilter:
		f.Status = comparison(at.field("statusCodeFilter"), s.StatusCodeFilter.GetComparison())
	case *accesslogpb.AccessLogFilter_DurationFilter:
		f.Duration = comparison(at.field("durationFilter"), s.DurationFilter.GetComparison())
	case *accesslogpb.AccessLogFilter_AndFilter:
		f.And = each(at.field("andFilter"), s.AndFilter.GetFilters())
	case *accesslogpb.AccessLogFilter_OrFilter:
		f.Or = each(at.field("orFilter"), s.OrFilter.GetFilters())
	case *accesslogpb.AccessLogFilter_ExtensionFilter:
		at = at.field("extensionFilter").field("typedConfig")
		config, err := unpack(s.ExtensionFilter.GetTypedConfig())
		if err != nil {
			return f // strict reports it
		}
		expression, ok := config.(*celpb.ExpressionFilter)
		if !ok {
			at.errorf("%s is no filter of logs", config.ProtoReflect().Descriptor().FullName())
			return f
		}
		f.Expression = expression.GetExpression()
		if _, err := attributes.CompileFilter(f.Expression); err != nil {
			at.field("expression").errorf("%v", err)
		}
	default:
		at.errorf("the filter is empty")
	}
	return f
}

func comparison(at place, m *accesslogpb.ComparisonFilter) *snapshot.Comparison {
	c := &snapshot.Comparison{Value: int64(m.GetValue().GetDefaultValue())}
	switch m.GetOp() {
	case accesslogpb.ComparisonFilter_EQ:
	case accesslogpb.ComparisonFilter_GE:
		c.Order = 1
	case accesslogpb.ComparisonFilter_LE:
		c.Order = -1
	default:
		at.field("comparison").field("op").errorf("%s: not supported", m.GetOp())
	}
	return c
}
