package canary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// all is the whole of the traffic, in per cent.
const all = 100

// defaultDeadline is how long a rollout may take that is not ready.
const defaultDeadline = 10 * time.Minute

// release is one Canary with what became of it. Its rounds, and all that reads it,
// hold the cluster's turn.
type release struct {
	cluster Cluster
	event   func(canary, text string)
	key     config.Key
	name    string // "default/reviews"
	canary  *config.Object
	cancel  context.CancelFunc

	is       State
	weight   int    // the canary's share now
	revision string // of the target, as the state is about it
	waits    bool   // a rollout is not ready
	made     []config.Key
}

func newRelease(o Options, canary *config.Object) *release {
	return &release{cluster: o.Cluster, event: o.OnEvent, key: canary.Key(), name: canary.Namespace + "/" + canary.Name, canary: canary,
		is: State{Phase: Initializing, Changed: time.Now()}}
}

func (r *release) state() State {
	s := r.is
	s.Weights = slices.Clone(s.Weights)
	spec := &r.canary.Value.(*config.Canary).Spec
	if target, err := r.target(spec); err == nil {
		s.Pending = revision(&target.Spec.Template) != r.revision
	}
	return s
}

// tell notes what happened; what happens again in a row is noted once.
func (r *release) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != r.is.Message {
		r.is.Message = text
		r.event(r.name, text)
	}
}

func (r *release) enter(p Phase, now time.Time) { r.is.Phase, r.is.Changed = p, now }

func (r *release) target(spec *config.CanarySpec) (*appsv1.Deployment, error) {
	return r.deployment(spec.TargetRef.Name)
}

func (r *release) deployment(name string) (*appsv1.Deployment, error) {
	o := r.cluster.Object(r.deploymentKey(name))
	if o == nil {
		return nil, fmt.Errorf("there is no Deployment %s/%s", r.key.Namespace, name)
	}
	return o.Value.(*appsv1.Deployment), nil
}

func (r *release) deploymentKey(name string) config.Key {
	return config.Key{Group: "apps", Kind: "Deployment", Namespace: r.key.Namespace, Name: name}
}

// revision identifies what a template makes: any change of it is a new revision.
func revision(t *corev1.PodTemplateSpec) string {
	text, err := json.Marshal(t)
	if err != nil { // a template is plain data
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// round is what the controller does once per interval.
func (r *release) round(ctx context.Context, spec *config.CanarySpec, now time.Time) {
	if spec.Suspend {
		r.tell("suspended")
		return
	}
	if err := r.advance(ctx, spec, now); err != nil {
		r.tell("%v", err)
	}
}

// advance brings what the Canary generates up to date and goes one step on.
func (r *release) advance(ctx context.Context, spec *config.CanarySpec, now time.Time) error {
	target, err := r.target(spec)
	if err != nil {
		return err
	}
	if err := r.prepare(ctx, spec, target); err != nil {
		return err
	}
	if r.is.Phase == Initializing {
		r.revision = revision(&target.Spec.Template)
		r.enter(Initialized, now)
		r.tell("initialized: %s serves", primaryName(spec))
		return nil
	}
	changed := revision(&target.Spec.Template) != r.revision
	switch r.is.Phase {
	case Initialized, Succeeded, Failed:
		if !changed {
			return nil
		}
		return r.detected(ctx, spec, target, now)
	case Progressing:
		if changed {
			r.start(target, now)
			r.tell("new revision of %s: the analysis starts again", target.Name)
			return r.route(ctx, spec, 0)
		}
	}
	return r.step(ctx, spec, target, now)
}

// start begins the analysis of the target's revision.
func (r *release) start(target *appsv1.Deployment, now time.Time) {
	r.revision = revision(&target.Spec.Template)
	r.is.Weights, r.is.FailedChecks, r.is.Detected = nil, 0, now
	r.enter(Progressing, now)
}

// detected scales a new revision up.
func (r *release) detected(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, now time.Time) error {
	r.start(target, now)
	r.tell("new revision of %s: it is scaled up", target.Name)
	replicas := 1
	if n := target.Spec.Replicas; n != nil && *n > 0 {
		replicas = int(*n)
	}
	return r.rollout(r.cluster.Scale(ctx, r.deploymentKey(target.Name), replicas))
}

// errNotReady is about Pods that are not ready in time; the next round looks again.
var errNotReady = errors.New("halted: the rollout is not ready")

// rollout remembers whether the Pods of a change got ready.
func (r *release) rollout(err error) error {
	r.waits = err != nil
	if err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	return nil
}

// step is a round of a release under way.
func (r *release) step(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, now time.Time) error {
	if r.waits {
		if err := r.rollout(r.cluster.Apply(ctx, nil)); err != nil {
			if deadline := deadline(spec); now.Sub(r.is.Changed) >= deadline {
				r.tell("rolled back: no progress within %v", deadline)
				return r.rollback(ctx, spec, target, now)
			}
			return err
		}
	}
	switch {
	case skips(spec) && r.is.Phase == Progressing:
		return r.skip(ctx, spec, target, now)
	case r.is.Phase == Promoting:
		return r.shift(ctx, spec, target, now)
	case r.is.Phase == Finalising:
		if err := r.cluster.Scale(ctx, r.deploymentKey(target.Name), 0); err != nil {
			return err
		}
		r.enter(Succeeded, now)
		r.tell("promoted: %s is scaled down", target.Name)
		return nil
	case r.is.FailedChecks >= max(spec.Analysis.Threshold, 1):
		r.tell("rolled back: %d failed checks", r.is.FailedChecks)
		return r.rollback(ctx, spec, target, now)
	}
	if r.weight > 0 {
		if why := r.analyse(ctx, spec); why != "" {
			r.is.FailedChecks++
			r.tell("halted at %d %%, failed check %d: %s", r.weight, r.is.FailedChecks, why)
			return nil
		}
	} else {
		r.tell("the analysis of %s starts", target.Name)
	}
	if most := maxWeight(spec.Analysis); r.weight < most {
		next := nextWeight(spec.Analysis, r.weight)
		if err := r.route(ctx, spec, next); err != nil {
			return err
		}
		r.is.Weights = append(r.is.Weights, next)
		r.tell("the canary gets %d %%", next)
		return nil
	}
	r.tell("%s becomes %s", primaryName(spec), target.Name)
	return r.promote(ctx, spec, target, Promoting, now)
}

// promote makes the primary what the target is.
func (r *release) promote(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, then Phase, now time.Time) error {
	primary, err := r.deployment(primaryName(spec))
	if err != nil {
		return err
	}
	label, value, err := selectorLabel(target)
	if err != nil {
		return err
	}
	r.enter(then, now)
	return r.rollout(r.cluster.Apply(ctx, []*config.Object{object("apps", "Deployment", promoted(primary, target, label, value+"-primary"))}))
}

// shift gives the primary its traffic back, at once or by stepWeightPromotion.
func (r *release) shift(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, now time.Time) error {
	next := 0
	if a := spec.Analysis; a != nil && a.StepWeightPromotion > 0 {
		next = max(r.weight-a.StepWeightPromotion, 0)
	}
	if err := r.route(ctx, spec, next); err != nil {
		return err
	}
	r.tell("the primary gets %d %%", all-next)
	if next > 0 {
		r.is.Weights = append(r.is.Weights, next)
		return nil
	}
	r.enter(Finalising, now)
	return nil
}

// skip promotes without an analysis.
func (r *release) skip(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, now time.Time) error {
	if err := r.route(ctx, spec, 0); err != nil {
		return err
	}
	if err := r.promote(ctx, spec, target, Finalising, now); err != nil {
		return err
	}
	if err := r.cluster.Scale(ctx, r.deploymentKey(target.Name), 0); err != nil {
		return err
	}
	r.enter(Succeeded, now)
	r.tell("promoted: the analysis was skipped")
	return nil
}

// rollback gives the primary all traffic and ends the canary.
func (r *release) rollback(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment, now time.Time) error {
	if err := r.route(ctx, spec, 0); err != nil {
		return err
	}
	if err := r.cluster.Scale(ctx, r.deploymentKey(target.Name), 0); err != nil {
		return err
	}
	r.waits = false
	r.enter(Failed, now)
	return nil
}

func skips(spec *config.CanarySpec) bool { return spec.SkipAnalysis || spec.Analysis == nil }

func deadline(spec *config.CanarySpec) time.Duration {
	if s := spec.ProgressDeadlineSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultDeadline
}

// maxWeight is the canary's greatest share.
func maxWeight(a *config.CanaryAnalysis) int {
	switch {
	case len(a.StepWeights) > 0:
		return a.StepWeights[len(a.StepWeights)-1]
	case a.MaxWeight > 0:
		return a.MaxWeight
	}
	return all
}

// nextWeight is the share after one more step. With stepWeight it may exceed
// maxWeight by a part of a step, as in Flagger.
func nextWeight(a *config.CanaryAnalysis, weight int) int {
	for _, w := range a.StepWeights {
		if w > weight {
			return w
		}
	}
	return min(weight+a.StepWeight, all)
}
