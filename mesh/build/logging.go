package build

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
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
	s.NoListenerLog = c.GetDisableEnvoyListenerLog()
	names := c.GetDefaultProviders().GetAccessLogging()
	for _, name := range names {
		l := fileProvider(c, name)
		if l == nil {
			b.found = append(b.found, meshDiagnostic("meshConfig.defaultProviders.accessLogging", fmt.Sprintf(": provider %q is not supported yet", name)))
			continue
		}
		s.AccessLogs = append(s.AccessLogs, l)
	}
	if c.GetAccessLogFile() != "" {
		s.FallbackLog = meshLog(c, builtInLog, c.GetAccessLogFile(), false)
	}
	if c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON && c.GetAccessLogFormat() != "" {
		if _, err := jsonObject(c.GetAccessLogFormat()); err != nil {
			d := meshDiagnostic("meshConfig.accessLogFormat", fmt.Sprintf(" is not the JSON object that accessLogEncoding: JSON asks for: %v", err))
			d.Code = config.CodeValue
			b.found = append(b.found, d)
		}
	}
}

// meshLog is a log in the format that the mesh configuration says. With the encoding JSON
// that is an object whose strings are formats; empty, or not valid, it is Istio's own.
func meshLog(c *meshpb.MeshConfig, name, path string, omitEmpty bool) *model.AccessLog {
	l := &model.AccessLog{Name: name, Path: path, OmitEmpty: omitEmpty}
	if c.GetAccessLogEncoding() != meshpb.MeshConfig_JSON {
		l.Format = c.GetAccessLogFormat()
		return l
	}
	l.EncodeJSON = true
	if object, err := jsonObject(c.GetAccessLogFormat()); err == nil {
		l.JSON = object.AsMap()
	}
	return l
}

func jsonObject(text string) (*structpb.Struct, error) {
	object := new(structpb.Struct)
	return object, protojson.Unmarshal([]byte(text), object)
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
		if f == nil {
			return nil
		}
		path := cmp.Or(f.GetPath(), "/dev/stdout")
		if f.GetLogFormat() == nil && name == builtInLog { // what MeshConfig says of the one that always exists
			return meshLog(c, name, path, f.GetOmitEmptyValues())
		}
		log := &model.AccessLog{Name: name, Path: path, Format: f.GetLogFormat().GetText(), OmitEmpty: f.GetOmitEmptyValues()}
		if labels := f.GetLogFormat().GetLabels(); labels != nil {
			log.JSON = labels.AsMap()
			log.EncodeJSON = true
		}
		return log
	}
	if name != builtInLog {
		return nil
	}
	return meshLog(c, name, cmp.Or(c.GetAccessLogFile(), "/dev/stdout"), false)
}

// logging reads one entry of access logging. Without providers it is about those of the
// level above.
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
		known := slices.ContainsFunc(b.options.MeshConfig.GetExtensionProviders(), func(p *meshpb.MeshConfig_ExtensionProvider) bool { return p.GetName() == ref.GetName() })
		switch {
		case log == nil && !known:
			b.report(o, config.Error, CodeProvider, fmt.Sprintf("%s.providers[%d]", path, i), missing(ref.GetName()).text, `the provider "envoy" always exists`)
			continue
		case log == nil:
			b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("%s.providers[%d]", path, i),
				fmt.Sprintf("access log provider %q is not an envoyFileAccessLog; others are not supported yet", ref.GetName()), `the provider "envoy" always exists`)
			continue
		}
		m.Logs = append(m.Logs, log)
	}
	return m
}
