package config

import "testing"

func TestPlacesOfTheMeshConfiguration(t *testing.T) {
	const text = `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  meshConfig:
    defaultConfig:
      proxyMetadata: {A: b}
    extensionProviders:
    - {name: a, skywalking: {service: a.b, port: 80}}
    - name: prometheus
      prometheus: {}
`
	objects, _ := Decode("o.yaml", 1, []byte(text))
	o := MeshOperator(objects)
	if o == nil {
		t.Fatal("no IstioOperator")
	}
	for path, want := range map[string]string{
		"meshConfig.defaultConfig.proxyMetadata.A":          "o.yaml:6:26",
		"meshConfig.defaultConfig.drainDuration":            "o.yaml:5:5",
		"meshConfig.extensionProviders[0].prometheus":       "o.yaml:10:19",
		"meshConfig.extensionProviders[1].stackdriver.x":    "o.yaml:7:5", // a default
		"meshConfig.extensionProviders[3].skywalking.port":  "o.yaml:8:50",
		"meshConfig.extensionProviders[99].skywalking.port": "o.yaml:7:5",
	} {
		d := o.PlaceMesh(Diagnostic{Object: Key{Kind: "MeshConfig"}, Path: path})
		if d.Position.String() != want || d.Excerpt == "" || d.Object.Kind != "MeshConfig" {
			t.Errorf("%s: %s %q, want %s", path, d.Position, d.Excerpt, want)
		}
	}
	other := Diagnostic{Object: Key{Kind: "Service"}, Message: "m"}
	if (*Object)(nil).PlaceMesh(other) != other || o.PlaceMesh(other) != other {
		t.Error("what is not about the mesh configuration must stay as it is")
	}
}
