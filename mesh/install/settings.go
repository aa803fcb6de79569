// Package install makes the manifests of a mesh in a cluster, puts them there and
// takes them away again.
//
// In: a profile and settings over it. Out: Kubernetes objects as plain data, made of
// Go types; with a kube.Client, the objects in a cluster. It must not import xds, the
// data plane or the simulator.
package install

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// Settings are all that can be chosen of an installation. Their JSON names are those
// of --set.
type Settings struct {
	Namespace       string `json:"namespace"`
	Hub             string `json:"hub"` // of the images meshd and meshproxy
	Tag             string `json:"tag"`
	ImagePullPolicy string `json:"imagePullPolicy"`

	ControlPlane   ControlPlane `json:"controlPlane"`
	IngressGateway Gateway      `json:"ingressGateway"`
	EgressGateway  Gateway      `json:"egressGateway"`
	// MeshConfig is Istio's, over its defaults.
	MeshConfig map[string]any `json:"meshConfig"`
}

// ControlPlane are the settings of meshd.
type ControlPlane struct {
	Replicas int32  `json:"replicas"`
	CPU      string `json:"cpu"` // requested
	Memory   string `json:"memory"`
	LogLevel string `json:"logLevel"`
}

// Gateway are the settings of one gateway.
type Gateway struct {
	Enabled     bool   `json:"enabled"`
	Replicas    int32  `json:"replicas"`
	ServiceType string `json:"serviceType"`
}

// profiles are named settings, the smallest first. They differ as Istio's profiles of
// the same names do.
var profiles = []struct {
	name, about string
	set         func(*Settings)
}{
	{"minimal", "the control plane alone", func(s *Settings) { s.IngressGateway.Enabled = false }},
	{"default", "the control plane and an ingress gateway", func(*Settings) {}},
	{"demo", "for trying things out: also an egress gateway, access logs, and small requests of resources", func(s *Settings) {
		s.EgressGateway.Enabled = true
		s.ControlPlane.CPU, s.ControlPlane.Memory = "10m", "100Mi"
		s.MeshConfig = map[string]any{"accessLogFile": "/dev/stdout"}
	}},
}

// Profiles returns the names of the profiles and what each is.
func Profiles() (names []string, about map[string]string) {
	about = make(map[string]string)
	for _, p := range profiles {
		names = append(names, p.name)
		about[p.name] = p.about
	}
	return names, about
}

// Profile returns the settings of a profile.
func Profile(name string) (Settings, error) {
	s := Settings{
		Namespace: "istio-system", Hub: "windtunnel", Tag: "latest", ImagePullPolicy: string(corev1.PullIfNotPresent),
		ControlPlane:   ControlPlane{Replicas: 1, CPU: "500m", Memory: "2Gi", LogLevel: "info"},
		IngressGateway: Gateway{Enabled: true, Replicas: 1, ServiceType: string(corev1.ServiceTypeLoadBalancer)},
		EgressGateway:  Gateway{Replicas: 1, ServiceType: string(corev1.ServiceTypeClusterIP)},
		MeshConfig:     map[string]any{},
	}
	names, _ := Profiles()
	for _, p := range profiles {
		if p.name == name {
			p.set(&s)
			return s, nil
		}
	}
	return s, fmt.Errorf("there is no profile %q: the profiles are %s", name, strings.Join(names, ", "))
}

// Set changes settings by assignments like "ingressGateway.serviceType=NodePort".
// Values are YAML.
func (s *Settings) Set(assignments ...string) error {
	var errs []error
	for _, a := range assignments {
		if err := s.set(a); err != nil {
			errs = append(errs, fmt.Errorf("--set %s: %w", a, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Settings) set(assignment string) error {
	path, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return errors.New("expected NAME=VALUE")
	}
	var parsed any
	if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
		return fmt.Errorf("the value is not YAML: %w", err)
	}
	if !strings.HasPrefix(path, "meshConfig.") {
		if err := known(path); err != nil {
			return err
		}
		if fieldKind(path) == reflect.String {
			parsed = value // a tag like 1.10 is a text
		}
	}
	names := strings.Split(path, ".")
	for _, name := range slices.Backward(names) {
		parsed = map[string]any{name: parsed}
	}
	text, err := yaml.Marshal(parsed)
	if err != nil {
		return err
	}
	// What is there stays where the text says nothing: JSON is decoded over it. Of
	// MeshConfig, which is a mapping, the same is done by hand.
	mesh := s.MeshConfig
	s.MeshConfig = nil
	if err := yaml.UnmarshalStrict(text, s); err != nil {
		s.MeshConfig = mesh
		return err
	}
	s.MeshConfig = merge(mesh, s.MeshConfig)
	return nil
}

// merge lays one mapping over another.
func merge(below, above map[string]any) map[string]any {
	merged := make(map[string]any)
	maps.Copy(merged, below)
	for key, v := range above {
		a, isMap := v.(map[string]any)
		b, wasMap := merged[key].(map[string]any)
		if isMap && wasMap {
			v = merge(b, a)
		}
		merged[key] = v
	}
	return merged
}

// fields are the names of all settings that have a value of their own.
func fields() map[string]reflect.Kind {
	all := make(map[string]reflect.Kind)
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			name := prefix + t.Field(i).Tag.Get("json")
			if kind := t.Field(i).Type.Kind(); kind == reflect.Struct {
				walk(name+".", t.Field(i).Type)
			} else {
				all[name] = kind
			}
		}
	}
	walk("", reflect.TypeFor[Settings]())
	return all
}

func fieldKind(path string) reflect.Kind { return fields()[path] }

func known(path string) error {
	all := fields()
	if _, ok := all[path]; ok {
		return nil
	}
	names := slices.Sorted(maps.Keys(all))
	if near := spelling.Nearest(path, names); near != "" {
		return fmt.Errorf("there is no setting %q; did you mean %q?", path, near)
	}
	return fmt.Errorf("there is no setting %q: the settings are %s", path, strings.Join(names, ", "))
}

// Validate reports everything that is wrong with the settings, and returns the mesh
// configuration as text.
func (s *Settings) Validate() (mesh string, err error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, value := range map[string]string{"namespace": s.Namespace, "hub": s.Hub, "tag": s.Tag} {
		if value == "" {
			wrong("%s must not be empty", name)
		}
	}
	oneOf := func(name, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong("%s %q: expected one of %s", name, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("imagePullPolicy", s.ImagePullPolicy, "Always", "IfNotPresent", "Never")
	oneOf("controlPlane.logLevel", s.ControlPlane.LogLevel, "debug", "info", "warn", "error")
	quantity := func(name, value string) {
		if _, err := resource.ParseQuantity(value); err != nil {
			wrong("%s %q: %w", name, value, err)
		}
	}
	quantity("controlPlane.cpu", s.ControlPlane.CPU)
	quantity("controlPlane.memory", s.ControlPlane.Memory)
	replicas := map[string]int32{"controlPlane": s.ControlPlane.Replicas}
	for name, g := range map[string]Gateway{"ingressGateway": s.IngressGateway, "egressGateway": s.EgressGateway} {
		oneOf(name+".serviceType", g.ServiceType, "LoadBalancer", "NodePort", "ClusterIP")
		replicas[name] = g.Replicas
	}
	for name, n := range replicas {
		if n < 1 {
			wrong("%s.replicas %d: expected 1 or more", name, n)
		}
	}
	text, err := yaml.Marshal(s.MeshConfig)
	if err != nil {
		return "", err
	}
	_, findings := config.DecodeMeshConfig("meshConfig", 1, text)
	for _, d := range findings {
		if d.Severity == config.Error {
			wrong("meshConfig: %s", d.Message)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return string(text), errors.Join(errs...)
}
