package world

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// mounted are the files of the ConfigMaps and Secrets that a container mounts, by
// path. As in a cluster, the container does not start where one is not there, unless
// it is optional. Changes of theirs reach containers that start later.
func (w *World) mounted(pod *corev1.Pod, c corev1.Container) (map[string][]byte, error) {
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	files := map[string][]byte{}
	for _, m := range c.VolumeMounts {
		content, items, err := w.content(pod.Namespace, volumes[m.Name])
		if err != nil {
			return nil, fmt.Errorf("container %s: volume %s: %w", c.Name, m.Name, err)
		}
		for name, data := range content {
			at := name
			if len(items) > 0 {
				if at = items[name]; at == "" {
					continue
				}
			}
			switch {
			case m.SubPath == "":
				files[path.Join(m.MountPath, at)] = data
			case m.SubPath == at:
				files[m.MountPath] = data
			}
		}
	}
	return files, nil
}

// content is what is in a volume, by key, and the names that files are to have; nil
// where all have their keys'.
func (w *World) content(namespace string, v corev1.Volume) (content map[string][]byte, items map[string]string, err error) {
	var kind, name string
	var optional *bool
	var keys []corev1.KeyToPath
	switch {
	case v.ConfigMap != nil:
		kind, name, optional, keys = "ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional, v.ConfigMap.Items
	case v.Secret != nil:
		kind, name, optional, keys = "Secret", v.Secret.SecretName, v.Secret.Optional, v.Secret.Items
	default:
		return nil, nil, nil // of no volume else anything here reads
	}
	o := w.cluster.Object(config.Key{Kind: kind, Namespace: namespace, Name: name})
	if o == nil {
		if optional != nil && *optional {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("there is no %s %s/%s", kind, namespace, name)
	}
	content = map[string][]byte{}
	switch value := o.Value.(type) {
	case *corev1.ConfigMap:
		for k, text := range value.Data {
			content[k] = []byte(text)
		}
		for k, data := range value.BinaryData {
			content[k] = data
		}
	case *corev1.Secret:
		for k, data := range value.Data {
			content[k] = data
		}
	}
	if len(keys) > 0 {
		items = map[string]string{}
		for _, k := range keys {
			items[k.Key] = k.Path
		}
	}
	return content, items, nil
}
