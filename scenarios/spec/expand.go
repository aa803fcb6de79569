package spec

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/source"
)

// expand reads the documents of a file or of every file of a pattern, sorted.
func (d *decoder) expand(n *yaml.Node, path string) []Document {
	full := filepath.FromSlash(path)
	if !filepath.IsAbs(full) {
		full = filepath.Join(d.dir, full)
	}
	if strings.Contains(path, "**") {
		d.problem(n, "pattern %q: ** is not supported, * stands for one level", path)
		return nil
	}
	files := []string{full}
	pattern := strings.ContainsAny(path, "*?[")
	if pattern {
		var err error
		if files, err = filepath.Glob(full); err != nil {
			d.problem(n, "pattern %q is malformed", path)
			return nil
		}
		own := filepath.Clean(d.file)
		files = slices.DeleteFunc(files, func(f string) bool { return filepath.Clean(f) == own })
		if slices.Sort(files); len(files) == 0 {
			d.problem(n, "no file matches %q (looked in %s)", path, filepath.Dir(full))
		}
	}
	var docs []Document
	for _, file := range files {
		docs = append(docs, d.resource(n, path, file)...)
	}
	return docs
}

// resource reads the documents of one file.
func (d *decoder) resource(n *yaml.Node, path, file string) []Document {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.problem(n, "file %q does not exist (looked for %s)%s", path, file, neighbour(path, file))
		return nil
	case err == nil && info.IsDir():
		d.problem(n, "%q is a folder; write %q for its files", path, strings.TrimSuffix(path, "/")+"/*.yaml")
		return nil
	case err == nil && !info.Mode().IsRegular():
		d.problem(n, "%q is no regular file", path)
		return nil
	}
	var data []byte
	if err == nil {
		data, err = source.Read(file)
	}
	if err != nil {
		d.problem(n, "file %q cannot be read: %s", path, reason(err))
		return nil
	}
	docs := split(file, data)
	if len(docs) == 0 {
		d.problem(n, "file %q has no object", path)
	}
	for _, doc := range docs {
		if looksLikeScenario(doc.Text) {
			var root yaml.Node
			if yaml.Unmarshal(doc.Text, &root) == nil && len(root.Content) == 1 && isScenario(root.Content[0]) {
				d.problem(n, "%s:%d is a scenario, not a resource", file, doc.Line)
				return nil
			}
		}
	}
	return docs
}

// neighbour suggests a file of the same folder.
func neighbour(path, file string) string {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return Suggest(filepath.Base(path), names)
}
