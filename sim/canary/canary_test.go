package canary

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// fake is a cluster that does at once what it is told.
type fake struct {
	objects map[config.Key]*config.Object
	answer  func(query string) ([]float64, error)
	queries []string
	unready error
}

func (f *fake) Enter(context.Context) (func(), error) { return func() {}, nil }
func (f *fake) Object(k config.Key) *config.Object    { return f.objects[k] }
func (f *fake) ready() error                          { return f.unready }
func (f *fake) deployment(name string) *appsv1.Deployment {
	return f.objects[deploymentKey(name)].Value.(*appsv1.Deployment)
}
func deploymentKey(name string) config.Key {
	return config.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: name}
}
func (f *fake) Query(_ context.Context, q string) ([]float64, error) {
	f.queries = append(f.queries, q)
	return f.answer(q)
}

func (f *fake) Apply(_ context.Context, objects []*config.Object) error {
	for _, o := range objects {
		f.objects[o.Key()] = o
	}
	return f.ready()
}

func (f *fake) Scale(_ context.Context, k config.Key, replicas int) error {
	o := *f.objects[k]
	d := o.Value.(*appsv1.Deployment).DeepCopy()
	n := int32(replicas)
	d.Spec.Replicas, o.Value = &n, d
	f.objects[k] = &o
	if replicas == 0 {
		return nil
	}
	return f.ready()
}

// shares are what the VirtualService gives to primary and canary.
func (f *fake) shares(t *testing.T, apex string) string {
	t.Helper()
	o := f.objects[config.Key{Group: "networking.istio.io", Kind: "VirtualService", Namespace: "default", Name: apex}]
	if o == nil {
		return "none"
	}
	var b strings.Builder
	for _, d := range o.Value.(*networkingv1.VirtualService).Spec.Http[0].Route {
		fmt.Fprintf(&b, "%s %d ", d.Destination.Host, d.Weight)
	}
	return strings.TrimSpace(b.String())
}

const target = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {revision: %q}}
    spec: {containers: [{name: web, image: nginx}]}
`

// trial is one Canary on a fake cluster, round by round.
type trial struct {
	*fake
	*release
	t      *testing.T
	now    time.Time
	events []string
}

func newTrial(t *testing.T, analysis string) *trial {
	t.Helper()
	x := &trial{t: t, now: time.Unix(0, 0), fake: &fake{objects: map[config.Key]*config.Object{},
		answer: func(string) ([]float64, error) { return []float64{100}, nil }}}
	x.revise("1")
	canary := decode(t, `
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web}
spec:
  targetRef: {kind: Deployment, name: web}
  progressDeadlineSeconds: 120
  service: {port: 80}
`+analysis)
	x.release = newRelease(Options{Cluster: x.fake, OnEvent: func(_, text string) { x.events = append(x.events, text) }}, canary)
	return x
}

func decode(t *testing.T, text string) *config.Object {
	t.Helper()
	objects, findings := config.Decode("test.yaml", 1, []byte(text))
	if len(objects) != 1 || len(findings) > 0 {
		t.Fatal(len(objects), findings)
	}
	return objects[0]
}

// revise applies another revision of the target.
func (x *trial) revise(revision string) {
	o := decode(x.t, fmt.Sprintf(target, revision))
	x.objects[o.Key()] = o
}

// rounds makes n rounds, a minute apart, and returns the state after each.
func (x *trial) rounds(n int) string {
	var said []string
	for range n {
		x.round(x.t.Context(), &x.canary.Value.(*config.Canary).Spec, x.now)
		x.now = x.now.Add(time.Minute)
		said = append(said, fmt.Sprintf("%s %d", x.is.Phase, x.weight))
	}
	return strings.Join(said, ", ")
}

func (x *trial) want(what, got, want string) {
	x.t.Helper()
	if got != want {
		x.t.Errorf("%s:\n got %s\nwant %s\nevents: %q", what, got, want, x.events)
	}
}

const (
	plain    = "  analysis: {threshold: 2, maxWeight: 50, stepWeight: 25, metrics: [{name: request-success-rate, thresholdRange: {min: 99}}]}\n"
	brackets = "  analysis: {threshold: 2, stepWeights: [1, 10, 60], stepWeightPromotion: 50}\n"
)

func TestPromotion(t *testing.T) {
	x := newTrial(t, plain)
	x.want("nothing changes", x.rounds(2), "Initialized 0, Initialized 0")
	x.want("initialized", x.shares(t, "web"), "web-primary 100 web-canary 0")
	if p, c := x.fake.deployment("web-primary"), x.fake.deployment("web"); *p.Spec.Replicas != 3 || *c.Spec.Replicas != 0 ||
		p.Spec.Selector.MatchLabels["app"] != "web-primary" || p.Spec.Template.Labels["app"] != "web-primary" {
		t.Errorf("primary %+v, target %+v", p.Spec, c.Spec)
	}
	apex := x.objects[config.Key{Kind: "Service", Namespace: "default", Name: "web"}].Value.(*corev1.Service)
	if apex.Spec.Selector["app"] != "web-primary" || apex.Spec.Ports[0].Name != "http" || apex.Spec.Ports[0].TargetPort.IntVal != 80 {
		t.Errorf("Service web: %+v", apex.Spec)
	}
	x.revise("2")
	if !x.state().Pending {
		t.Error("the state is not about the new revision, and does not say so")
	}
	x.want("promotion", x.rounds(7), "Progressing 0, Progressing 25, Progressing 50, Promoting 50, Finalising 0, Succeeded 0, Succeeded 0")
	if p := x.fake.deployment("web-primary"); p.Spec.Template.Annotations["revision"] != "2" || p.Spec.Template.Labels["app"] != "web-primary" {
		t.Errorf("the primary is %+v", p.Spec.Template)
	}
	if *x.fake.deployment("web").Spec.Replicas != 0 {
		t.Error("the canary still runs")
	}
	if s := x.state(); !slices.Equal(s.Weights, []int{25, 50}) || s.Pending || s.Changed.Sub(s.Detected) != 5*time.Minute {
		t.Errorf("%+v", s)
	}
	if len(x.queries) != 2 || !strings.Contains(x.queries[0], `destination_workload="web",response_code!~"5.*"}[1m]`) {
		t.Errorf("%q", x.queries)
	}
}

func TestStepWeights(t *testing.T) {
	x := newTrial(t, brackets)
	x.rounds(1)
	x.revise("2")
	x.want("stepWeights", x.rounds(8),
		"Progressing 0, Progressing 1, Progressing 10, Progressing 60, Promoting 60, Promoting 10, Finalising 0, Succeeded 0")
}

func TestRollback(t *testing.T) {
	for name, answer := range map[string]func(string) ([]float64, error){
		"below":    func(string) ([]float64, error) { return []float64{98.9}, nil },
		"no value": func(string) ([]float64, error) { return nil, nil },
		"NaN":      func(string) ([]float64, error) { return []float64{math.NaN()}, nil },
		"error":    func(string) ([]float64, error) { return nil, errors.New("Prometheus is ill") },
	} {
		x := newTrial(t, plain)
		x.rounds(1)
		x.revise("2")
		x.answer = answer
		x.want(name, x.rounds(6), "Progressing 0, Progressing 25, Progressing 25, Progressing 25, Failed 0, Failed 0")
		x.want(name, x.shares(t, "web"), "web-primary 100 web-canary 0")
		if p := x.fake.deployment("web-primary"); p.Spec.Template.Annotations["revision"] != "1" || *x.fake.deployment("web").Spec.Replicas != 0 {
			t.Errorf("%s: after the rollback there are %+v", name, p.Spec.Template)
		}
		x.answer = func(string) ([]float64, error) { return []float64{100}, nil }
		x.revise("3")
		x.want("the next revision is tried", x.rounds(2), "Progressing 0, Progressing 25")
		if x.is.FailedChecks != 0 {
			t.Error("the failed checks of the revision before count")
		}
	}
}

func TestRevisionDuringAnalysis(t *testing.T) {
	x := newTrial(t, plain)
	x.rounds(1)
	x.revise("2")
	x.rounds(3)
	x.revise("3")
	x.want("it starts again", x.rounds(3), "Progressing 0, Progressing 25, Progressing 50")
	x.want("routes", x.shares(t, "web"), "web-primary 50 web-canary 50")
}

func TestSkippedAnalysisAndSuspension(t *testing.T) {
	x := newTrial(t, "  skipAnalysis: true\n")
	x.rounds(1)
	x.revise("2")
	x.want("skipAnalysis", x.rounds(2), "Progressing 0, Succeeded 0")
	if x.fake.deployment("web-primary").Spec.Template.Annotations["revision"] != "2" {
		t.Error("the primary is not the new revision")
	}
	x.canary.Value.(*config.Canary).Spec.Suspend = true
	x.revise("3")
	x.want("suspend", x.rounds(2), "Succeeded 0, Succeeded 0")
}

func TestProgressDeadline(t *testing.T) {
	x := newTrial(t, plain)
	x.rounds(1)
	x.revise("2")
	x.unready = errors.New("it does not start")
	x.want("deadline", x.rounds(3), "Progressing 0, Progressing 0, Failed 0")
	if got := x.events[len(x.events)-1]; got != "rolled back: no progress within 2m0s" {
		t.Error(got)
	}
}

func TestMissingTarget(t *testing.T) {
	x := newTrial(t, plain)
	delete(x.objects, deploymentKey("web"))
	x.want("no target", x.rounds(2), "Initializing 0, Initializing 0")
	if len(x.events) != 1 || x.events[0] != "there is no Deployment default/web" {
		t.Errorf("%q", x.events)
	}
}

func TestQueries(t *testing.T) {
	x := newTrial(t, "  analysis: {stepWeight: 5, metrics: [{name: lag, templateRef: {name: lag}, interval: 30s, thresholdRange: {max: 3}}]}\n")
	metric := &x.canary.Value.(*config.Canary).Spec.Analysis.Metrics[0]
	if _, err := x.query(&x.canary.Value.(*config.Canary).Spec, metric); err == nil || !strings.Contains(err.Error(), "MetricTemplate default/lag") {
		t.Error(err)
	}
	o := decode(t, `
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: lag}
spec: {provider: {type: prometheus, address: "http://prometheus:9090"}, query: 'max(lag{ns="{{ namespace }}",w="{{target}}",s="{{ service }}"}[{{ interval }}])'}
`)
	x.objects[o.Key()] = o
	text, err := x.query(&x.canary.Value.(*config.Canary).Spec, metric)
	if err != nil || text != `max(lag{ns="default",w="web",s="web"}[30s])` {
		t.Errorf("%q, %v", text, err)
	}
	for value, want := range map[float64]string{3: "", 3.5: "lag is 3.50, above 3"} {
		if got := verdict(metric, value); got != want {
			t.Errorf("%v: %q", value, got)
		}
	}
}

func TestOrphans(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	x := newTrial(t, plain)
	c := New(ctx, Options{Cluster: x.fake, Seed: seed.New(1), OnEvent: func(string, string) {}})
	c.Update([]*config.Object{x.canary})
	r := c.releases[x.canary.Key()]
	r.round(ctx, &x.canary.Value.(*config.Canary).Spec, x.now)
	orphans := c.Update(nil)
	cancel()
	c.Wait()
	if _, found := c.State(x.canary.Key()); found || len(orphans) != 7 {
		t.Errorf("%v is left of the Canary", orphans)
	}
}
