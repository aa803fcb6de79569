package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

var _ run.Witness = (*World)(nil)

// evidenceFolder is where the folders of scenarios are, beside the report.
const evidenceFolder = "evidence"

// evidenceLimit is how long a cluster may take to tell what it knows.
const evidenceLimit = time.Minute

// Testify implements run.Witness: the logs of all containers, the events of the
// scenario's namespaces, and what the admin ports of proxies say.
func (w *World) Testify(ctx context.Context) (string, error) {
	if w.env.Out == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceLimit)
	defer cancel()
	relative := filepath.Join(evidenceFolder, w.scenario.Name)
	folder := filepath.Join(w.env.Out, relative)
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	errs := []error{w.writeEvents(ctx, folder)}
	for _, p := range w.pods() {
		errs = append(errs, w.writePod(ctx, filepath.Join(folder, w.names.scenario(p.Namespace)+"."+p.Name), p))
	}
	return relative, errors.Join(errs...)
}

func (w *World) writeEvents(ctx context.Context, folder string) error {
	all, err := w.client.List(ctx, kube.Resource("v1", "Event"), "", "")
	if err != nil {
		return err
	}
	var lines []string
	for i := range all {
		var e corev1.Event
		if !w.mine(all[i].GetNamespace()) || kube.Into(&all[i], &e) != nil {
			continue
		}
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.CreationTimestamp.Time
		}
		lines = append(lines, fmt.Sprintf("%s %s %s/%s %s: %s\n", at.UTC().Format(time.RFC3339), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	slices.Sort(lines)
	var text string
	for _, l := range lines {
		text += l
	}
	return os.WriteFile(filepath.Join(folder, "events.txt"), []byte(text), 0o644)
}

// writePod writes all that is known of one Pod. That a container has no log is no error.
func (w *World) writePod(ctx context.Context, folder string, p *pod) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := yaml.Marshal(p.Pod)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "pod.yaml"), text, 0o644)
	}
	errs := []error{err}
	since := w.log.since
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		errs = append(errs, w.writeLog(ctx, filepath.Join(folder, s.Name+".log"),
			kube.LogOptions{Namespace: p.Namespace, Pod: p.Name, Container: s.Name, Since: since}))
		if s.RestartCount > 0 {
			errs = append(errs, w.writeLog(ctx, filepath.Join(folder, s.Name+".previous.log"),
				kube.LogOptions{Namespace: p.Namespace, Pod: p.Name, Container: s.Name, Previous: true}))
		}
	}
	if proxied, _ := p.proxied(); !proxied {
		return errors.Join(errs...)
	}
	for file, path := range map[string]string{"config_dump.json": "/config_dump", "clusters.txt": "/clusters", "stats.txt": "/stats"} {
		page := ""
		if err := w.admin(ctx, p, path, func(body []byte) error { page = string(body); return nil }); err != nil {
			page = err.Error() + "\n"
		}
		errs = append(errs, os.WriteFile(filepath.Join(folder, file), []byte(page), 0o644))
	}
	return errors.Join(errs...)
}

func (w *World) writeLog(ctx context.Context, file string, o kube.LogOptions) error {
	body, err := w.client.Log(ctx, o)
	if err != nil {
		return os.WriteFile(file, []byte(err.Error()+"\n"), 0o644)
	}
	defer body.Close()
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, body)
	return errors.Join(err, to.Close())
}
