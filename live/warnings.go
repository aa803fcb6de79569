package live

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// admission is a sentence of the validating webhook: the path of a field, what is to be
// said, a code.
var admission = regexp.MustCompile(`^((?:spec|metadata)[][\w./-]*): (.*?) \[(WT\d+)\](?: \((.*)\))?$`)

// warned is an object that the API server or its webhooks had something to say of.
type warned struct {
	position string
	object   *unstructured.Unstructured // as it was applied
	written  *config.Object             // as it was read, with places; nil where it was not
	said     []string
}

// listen has the warnings of requests with the context.
func (o *warned) listen(ctx context.Context) context.Context {
	return kube.WithWarnings(ctx, func(text string) { o.said = append(o.said, text) })
}

// warn adds what was said of objects to an apply's warnings. Where several were applied
// it asks anew, now that all are there: one may be what another one's reference was found
// to miss.
func (w *World) warn(ctx context.Context, applied *run.Applied, objects []*warned, again bool) error {
	for _, o := range objects {
		if again {
			o.said = nil
			if err := w.client.Try(o.listen(ctx), o.object, owner); err != nil {
				if _, ok := refused(err); !ok {
					return fmt.Errorf("%s: %w", o.position, err)
				}
			}
		}
		for _, text := range o.said {
			if warning, message := o.placed(w.names.scenario(text)); !slices.ContainsFunc(applied.Warnings, func(s string) bool { return strings.Contains(s, message) }) {
				applied.Warnings = append(applied.Warnings, warning)
			}
		}
	}
	return nil
}

// placed is a warning with the place in the scenario's file, where it names a field, and
// what it says by itself, which reading the file may have said already.
func (o *warned) placed(text string) (warning, message string) {
	m := admission.FindStringSubmatch(text)
	if m == nil || o.written == nil {
		return o.position + ": " + text, text
	}
	var b bytes.Buffer
	config.Print(&b, []config.Diagnostic{o.written.Diagnose(config.Warning, m[3], m[1], m[2], m[4])})
	return b.String(), m[2]
}

// placeOf is where the field stands that the API server does not take, else where the object
// begins.
func placeOf(err error, o *warned) string {
	var status apierrors.APIStatus
	if o.written == nil || !errors.As(err, &status) || status.Status().Details == nil {
		return o.position
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Field != "" {
			return o.written.At(cause.Field).String()
		}
	}
	return o.position
}

// objectOf is a document as it was read, with places; nil where it was not.
func objectOf(d document, read []*config.Object) *config.Object {
	namespace := cmp.Or(d.object.GetNamespace(), "default")
	for _, o := range read {
		if o.Kind == d.object.GetKind() && o.Name == d.object.GetName() && (o.Namespace == namespace || o.Namespace == "") {
			return o
		}
	}
	return nil
}
