package live

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
)

// behave has containers whose behaviour the scenario declares played by the image of
// test workloads.
func (w *World) behave(u *unstructured.Unstructured) error {
	if len(w.scenario.Behaviours) == 0 {
		return nil
	}
	catalogue := images.NewCatalogue(w.scenario.Behaviours)
	for _, path := range [][]string{{"spec", "template", "spec", "containers"}, {"spec", "containers"}} {
		containers, found, err := unstructured.NestedSlice(u.Object, path...)
		if err != nil || !found {
			continue
		}
		for _, c := range containers {
			container, ok := c.(map[string]any)
			if !ok {
				continue // the API server refuses it
			}
			image, _, _ := unstructured.NestedString(container, "image")
			declared, found := catalogue.Declared(u.GetName(), image)
			if !found {
				continue
			}
			if err := w.play(container, image, declared); err != nil {
				return fmt.Errorf("behaviour of %s: %w", u.GetName(), err)
			}
		}
		_ = unstructured.SetNestedSlice(u.Object, containers, path...) // it was one before
	}
	return nil
}

// play makes a container one that behaves as declared.
func (w *World) play(container map[string]any, image string, b spec.Behaviour) error {
	rename := func(calls []spec.OutgoingCall) []spec.OutgoingCall {
		var list []spec.OutgoingCall
		for _, c := range calls {
			c.URL = w.names.url(c.URL)
			list = append(list, c)
		}
		return list
	}
	b.HTTP.Calls, b.HTTP.StartCalls = rename(b.HTTP.Calls), rename(b.HTTP.StartCalls)
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	args := []any{"run", "--image", image}
	ports, _, _ := unstructured.NestedSlice(container, "ports")
	for _, p := range ports {
		m, _ := p.(map[string]any)
		number, _ := m["containerPort"].(int64)
		if f, ok := m["containerPort"].(float64); ok {
			number = int64(f)
		}
		if protocol, _ := m["protocol"].(string); number == 0 || protocol != "" && protocol != string(corev1.ProtocolTCP) {
			continue
		}
		args = append(args, "--port", fmt.Sprint(number))
	}
	container["image"], container["args"] = w.env.ClientImage, append(args, "--behaviour", string(text))
	delete(container, "command")
	if _, found, _ := unstructured.NestedFieldNoCopy(container, "securityContext", "runAsUser"); found {
		return nil
	}
	// As root, as most images are: ports below 1024 are not for others.
	return unstructured.SetNestedField(container, int64(0), "securityContext", "runAsUser")
}
