package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// mergeKeys are the lists of a container whose items are merged by a field of theirs, as
// Kubernetes' strategic merge patch has it; other lists are replaced.
var mergeKeys = map[string]string{"env": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}

// completed is the template's container with what the Pod's own of that name says over it.
// Its image may be "auto", which is the template's; the API server has made the pull
// policy of an image without a tag Always by then, which nobody wrote.
func completed(template, own *corev1.Container) (*corev1.Container, error) {
	own = own.DeepCopy()
	if own.Image == autoImage {
		own.Image = ""
		if own.ImagePullPolicy == corev1.PullAlways {
			own.ImagePullPolicy = ""
		}
	}
	template = template.DeepCopy()
	for _, p := range []struct{ template, own *corev1.Probe }{
		{template.LivenessProbe, own.LivenessProbe}, {template.ReadinessProbe, own.ReadinessProbe}, {template.StartupProbe, own.StartupProbe}} {
		// A probe asks in one way: the Pod's, where it says how.
		if p.template != nil && p.own != nil && p.own.ProbeHandler != (corev1.ProbeHandler{}) {
			p.template.ProbeHandler = corev1.ProbeHandler{}
		}
	}
	base, err := asTree(template)
	if err != nil {
		return nil, err
	}
	over, err := asTree(own)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(merged(base, over))
	if err != nil {
		return nil, fmt.Errorf("complete the container %s: %w", own.Name, err)
	}
	c := &corev1.Container{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("complete the container %s: %w", own.Name, err)
	}
	return c, nil
}

func asTree(c *corev1.Container) (object, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("read the container %s: %w", c.Name, err)
	}
	var tree object
	return tree, json.Unmarshal(text, &tree)
}

// merged is base with over laid on it. An image that is empty says nothing.
func merged(base, over object) object {
	for name, value := range over {
		switch value := value.(type) {
		case object:
			if below, ok := base[name].(object); ok {
				base[name] = merged(below, value)
				continue
			}
		case list:
			if below, ok := base[name].(list); ok && mergeKeys[name] != "" {
				base[name] = mergedItems(below, value, mergeKeys[name])
				continue
			}
		case string:
			if value == "" {
				continue
			}
		}
		base[name] = over[name]
	}
	return base
}

// mergedItems replaces the items that have a key already, and adds the others.
func mergedItems(base, over list, key string) list {
	for _, item := range over {
		at := 0
		for at < len(base) && !sameKey(base[at], item, key) {
			at++
		}
		if at < len(base) {
			base[at] = item
		} else {
			base = append(base, item)
		}
	}
	return base
}

func sameKey(a, b any, key string) bool {
	x, ok := a.(object)
	y, same := b.(object)
	return ok && same && x[key] == y[key]
}
