package inject

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// CodeRefused is the code of what the injector does not support; it is the control
// plane's for what that does not.
const CodeRefused = "WT0400"

// Problem is something that is wrong with a Pod: with one of its annotations, or another
// field.
type Problem struct {
	// Path is the field, from the Pod: "metadata.annotations.proxy.istio.io/config".
	Path string
	// Diagnostic has places within the field's text, where it has any.
	config.Diagnostic
}

// Problems are all that is wrong with a Pod.
type Problems []Problem

const annotationsPath = "metadata.annotations."

// Error names the annotations.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Message
		if p.Position.Line > 0 {
			texts[i] += fmt.Sprintf(" (line %d, column %d of its text)", p.Position.Line, p.Position.Col)
		}
		if p.Hint != "" {
			texts[i] += " (" + p.Hint + ")"
		}
	}
	return strings.Join(texts, "\n")
}

// Place gives each problem its place in the file of the object that the Pod is from; path
// is where its Pods are described: "", or "spec.template.".
func (ps Problems) Place(o *config.Object, path string) []config.Diagnostic {
	var found []config.Diagnostic
	for _, p := range ps {
		found = append(found, o.Within(path+p.Path, p.Diagnostic))
	}
	return found
}

// Check finds what injection would refuse of the Pods that an object makes, or that are made
// for a Gateway of the Gateway API.
func Check(object *config.Object, ns *corev1.Namespace, o Options) []config.Diagnostic {
	if g, ok := object.Value.(*gatewayv1.Gateway); ok {
		return checkGateway(object, g, o)
	}
	pod, path := PodOf(object)
	if pod == nil {
		return nil
	}
	if yes, _ := Decide(pod, ns, o); !yes {
		return nil
	}
	if err := o.setDefaults(); err != nil {
		panic(err) // without an image; that is the program's
	}
	s, problems := o.annotated(pod, object.Namespace)
	return append(problems, conflicts(pod, s)...).Place(object, path)
}

// PodOf is a Pod as an object describes it, and where: "", or "spec.template.". It is nil
// where the object makes no Pods. What it has is the object's.
func PodOf(object *config.Object) (pod *corev1.Pod, path string) {
	var t *corev1.PodTemplateSpec
	switch v := object.Value.(type) {
	case *corev1.Pod:
		return v, ""
	case *appsv1.Deployment:
		t = &v.Spec.Template
	case *appsv1.StatefulSet:
		t = &v.Spec.Template
	case *appsv1.DaemonSet:
		t = &v.Spec.Template
	case *appsv1.ReplicaSet:
		t = &v.Spec.Template
	default:
		return nil, ""
	}
	pod = &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	pod.Namespace = object.Namespace
	return pod, "spec.template."
}
