package build

import (
	"strings"
	"testing"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Which log is written, by the names and filters of those of one workload. As in Istio,
// accessLogFile is what is left where no provider is named, and Telemetry without a
// provider changes nothing about it.
func TestAccessLogs(t *testing.T) {
	for _, c := range []struct {
		name, telemetry string
		file, byDefault bool
		want            string
	}{
		{"nothing", "", false, false, ""},
		{"the file", "", true, false, "envoy"},
		{"the default provider", "", true, true, "envoy"},
		{"a filter without a provider", "{filter: {expression: 'response.code >= 400'}}", false, false, ""},
		{"a filter without a provider, and the file", "{filter: {expression: 'response.code >= 400'}}", true, false, "envoy"},
		{"a filter of the default provider", "{filter: {expression: 'response.code >= 400'}}", false, true, "envoy response.code >= 400"},
		{"switched off without a provider", "{disabled: true}", true, false, "envoy"},
		{"the default provider switched off", "{disabled: true}", true, true, ""},
		{"switched off by name", "{providers: [{name: envoy}], disabled: true}", true, false, ""},
		{"of the other side", "{providers: [{name: envoy}], match: {mode: CLIENT}, disabled: true}", true, false, "envoy"},
		{"by name", "{providers: [{name: envoy}], filter: {expression: 'response.code >= 500'}}", false, false, "envoy response.code >= 500"},
	} {
		var yaml string
		if c.telemetry != "" {
			yaml = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t}\nspec: {accessLogging: [" + c.telemetry + "]}\n"
		}
		objects, problems := config.Decode("t.yaml", 1, []byte(yaml))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		mesh := &meshpb.MeshConfig{}
		if c.file {
			mesh.AccessLogFile = "/dev/stdout"
		}
		if c.byDefault {
			mesh.DefaultProviders = &meshpb.MeshConfig_DefaultProviders{AccessLogging: []string{"envoy"}}
		}
		m, found := Build(store.NewView(objects...), Options{MeshConfig: mesh})
		if len(found) > 0 {
			t.Fatal(found)
		}
		var got []string
		for _, l := range m.AccessLogs("default", nil, true) {
			got = append(got, strings.TrimSpace(l.Name+" "+l.Filter))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: logs %q, want %q", c.name, got, c.want)
		}
	}
}
