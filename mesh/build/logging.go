package build

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"
	meshpb "istio.io/api/mesh/v1alpha1"
	telemetrypb "istio.io/api/telemetry/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// meshLogs are the logs that MeshConfig switches on: by the default providers, or by
// accessLogFile.
func (b *builder) meshLogs() {
	c := b.options.MeshConfig
	s := &b.parts.Settings
	names := c.GetDefaultProviders().GetAccessLogging()
	for _, name := range names {
		l := fileProvider(c, name)
		if l == nil {
			b.found = append(b.found, meshDiagnostic(fmt.Sprintf("meshConfig.defaultProviders.accessLogging: provider %q is not supported yet", name)))
			continue
		}
		s.AccessLogs = append(s.AccessLogs, l)
	}
	if len(names) == 0 && c.GetAccessLogFile() != "" {
		s.AccessLogs = []*model.AccessLog{{
			Name: builtInLog, Path: c.GetAccessLogFile(), Format: c.GetAccessLogFormat(),
			EncodeJSON: c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON,
		}}
	}
}

// builtInLog is the provider that always exists.
const builtInLog = "envoy"

// fileProvider returns the file log that an extension provider makes, or nil.
func fileProvider(c *meshpb.MeshConfig, name string) *model.AccessLog {
	for _, p := range c.GetExtensionProviders() {
		if p.GetName() != name {
			continue
		}
		f := p.GetEnvoyFileAccessLog()
		if f == nil || f.GetOmitEmptyValues() {
			return nil
		}
		log := &model.AccessLog{Name: name, Path: cmp.Or(f.GetPath(), "/dev/stdout"), Format: f.GetLogFormat().GetText()}
		if labels := f.GetLogFormat().GetLabels(); labels != nil {
			log.JSON = jsonFormat(labels)
			log.EncodeJSON = true
		}
		if f.GetLogFormat() == nil && name == builtInLog { // what MeshConfig says of the one that always exists
			log.Format, log.EncodeJSON = c.GetAccessLogFormat(), c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON
		}
		return log
	}
	if name != builtInLog {
		return nil
	}
	return &model.AccessLog{
		Name: name, Path: cmp.Or(c.GetAccessLogFile(), "/dev/stdout"), Format: c.GetAccessLogFormat(),
		EncodeJSON: c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON,
	}
}

func jsonFormat(labels *structpb.Struct) map[string]string {
	format := map[string]string{}
	for k, v := range labels.GetFields() {
		format[k] = v.GetStringValue()
	}
	return format
}

// logging reads one entry of access logging. Without providers it is about those of the
// level above; the one that always exists stands in where there are none.
func (b *builder) logging(o *config.Object, l *telemetrypb.AccessLogging, path string) model.Logging {
	m := model.Logging{Side: side(l.GetMatch().GetMode()), Disabled: l.GetDisabled().GetValue(), Filter: l.GetFilter().GetExpression()}
	if l.GetFilter() != nil {
		if _, err := attributes.CompileFilter(m.Filter); err != nil {
			b.report(o, config.Error, CodeBadExpression, path+".filter.expression", err.Error(), "")
			m.Filter = ""
		}
	}
	for i, ref := range l.GetProviders() {
		log := fileProvider(b.options.MeshConfig, ref.GetName())
		if log == nil {
			b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("%s.providers[%d]", path, i),
				fmt.Sprintf("access log provider %q is not an envoyFileAccessLog; others are not supported yet", ref.GetName()), `the provider "envoy" always exists`)
			continue
		}
		m.Logs = append(m.Logs, log)
	}
	if len(l.GetProviders()) == 0 && len(b.parts.Settings.AccessLogs) == 0 && !m.Disabled {
		m.Logs = []*model.AccessLog{fileProvider(b.options.MeshConfig, builtInLog)}
	}
	return m
}
