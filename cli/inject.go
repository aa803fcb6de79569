package cli

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func newInjectCommand(s Streams) *cobra.Command {
	var files []string
	var choice settingsFlags
	c := &cobra.Command{
		Use:   "inject -f FILE…",
		Short: "Print manifests with sidecars, as the webhook would make them",
		Long: "Print manifests with the sidecar in every Pod, and every template of Pods, that may have one: as the webhook would make them\n" +
			"in a namespace that asks for it. The rest is printed as it was written.",
		Example: "  windtunnel inject -f bookinfo/manifests/bookinfo.yaml | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, err := choice.settings()
			if err != nil {
				return err
			}
			return injectFiles(s, files, settings.Injection())
		},
	}
	choice.add(c)
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "manifests: a `file`, a folder, or - for stdin; may be repeated")
	return c
}

func injectFiles(s Streams, files []string, o inject.Options) error {
	if len(files) == 0 {
		return &exit{codeUsage, errors.New("no manifests: -f FILE is needed")}
	}
	var docs []spec.Document
	for _, file := range files {
		found, err := manifests(s.In, file)
		if err != nil {
			return &exit{codeUsage, err}
		}
		docs = append(docs, found...)
	}
	var objects []*config.Object
	var findings []config.Diagnostic
	for _, d := range docs {
		list, found := config.Decode(d.File, d.Line, d.Text)
		objects, findings = append(objects, list...), append(findings, found...)
	}
	for _, object := range objects {
		if object.Kind == "ProxyConfig" {
			o.ProxyConfigs = append(o.ProxyConfigs, object)
		}
	}
	for _, object := range objects {
		findings = append(findings, inject.Check(object, wanting(object.Namespace), o)...)
	}
	config.Print(s.Err, findings)
	if slices.ContainsFunc(findings, func(f config.Diagnostic) bool { return f.Severity == config.Error }) {
		return &exit{codeUsage, errors.New("the manifests have problems")}
	}
	var out bytes.Buffer
	for _, object := range objects {
		text, err := withSidecars(object, o)
		if err != nil {
			return &exit{codeUsage, fmt.Errorf("%s: %s: %w", object.Position(), object.Key(), err)}
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	_, err := s.Out.Write(out.Bytes())
	return err
}

// withSidecars is an object as YAML; as it was written where it has no Pods, or its
// Pods want no sidecar.
func withSidecars(object *config.Object, o inject.Options) ([]byte, error) {
	types := metav1.TypeMeta{Kind: object.Kind, APIVersion: object.Version}
	if object.Group != "" {
		types.APIVersion = object.Group + "/" + object.Version
	}
	var value any
	var yes bool
	var err error
	switch v := object.Value.(type) {
	case *corev1.Pod:
		v = v.DeepCopy()
		v.TypeMeta = types
		value, yes, err = inject.Pod(v, wanting(object.Namespace), o)
	case *appsv1.Deployment:
		v = v.DeepCopy()
		v.TypeMeta, value = types, v
		yes, err = template(object, &v.Spec.Template, o)
	case *appsv1.StatefulSet:
		v = v.DeepCopy()
		v.TypeMeta, value = types, v
		yes, err = template(object, &v.Spec.Template, o)
	case *appsv1.DaemonSet:
		v = v.DeepCopy()
		v.TypeMeta, value = types, v
		yes, err = template(object, &v.Spec.Template, o)
	case *appsv1.ReplicaSet:
		v = v.DeepCopy()
		v.TypeMeta, value = types, v
		yes, err = template(object, &v.Spec.Template, o)
	}
	if err != nil {
		return nil, err
	}
	if !yes {
		return object.Raw, nil
	}
	u, err := kube.From(value)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(u.Object)
}

// wanting is a namespace that asks for injection.
func wanting(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"istio-injection": "enabled"}}}
}

// template puts the sidecar into a template of Pods.
func template(object *config.Object, t *corev1.PodTemplateSpec, o inject.Options) (bool, error) {
	controller := true
	pod := &corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	pod.Namespace = object.Namespace
	// The Pods will say whose they are, which is the name of the workload.
	pod.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: object.Group + "/" + object.Version, Kind: object.Kind, Name: object.Name, Controller: &controller}}
	after, yes, err := inject.Pod(pod, wanting(object.Namespace), o)
	if yes {
		t.Labels, t.Annotations, t.Spec = after.Labels, after.Annotations, after.Spec
	}
	return yes, err
}
