package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// offline reads manifests and makes a mesh of them in which nothing runs. What is
// wrong with them goes to stderr; errors end the command.
func offline(s Streams, files []string) (*world.Offline, error) {
	if len(files) == 0 {
		return nil, &exit{codeUsage, errors.New("no manifests: -f FILE is needed")}
	}
	var docs []spec.Document
	for _, path := range files {
		found, err := manifests(s.In, path)
		if err != nil {
			return nil, &exit{codeUsage, err}
		}
		docs = append(docs, found...)
	}
	mesh, findings, err := world.NewOffline(docs)
	findings = slices.DeleteFunc(findings, func(d config.Diagnostic) bool { return d.Severity != config.Error && d.Severity != config.Warning })
	config.Print(s.Err, findings)
	count := 0
	for _, f := range findings {
		if f.Severity == config.Error {
			count++
		}
	}
	switch {
	case count > 0:
		return nil, &exit{codeUsage, fmt.Errorf("%s in the manifests", plural(count, "problem"))}
	case err != nil:
		return nil, &exit{codeUsage, err}
	}
	return mesh, nil
}

// manifests reads a file, the YAML files of a folder, or stdin ("-").
func manifests(in io.Reader, path string) ([]spec.Document, error) {
	if path == "-" {
		text, err := source.ReadAll(in)
		return []spec.Document{{File: "stdin", Line: 1, Text: text}}, err
	}
	var docs []spec.Document
	err := filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		extension := filepath.Ext(file)
		if err != nil || e.IsDir() || file != path && extension != ".yaml" && extension != ".yml" {
			return err
		}
		text, err := source.Read(file)
		if errors.Is(err, source.TooLargeError{}) {
			err = fmt.Errorf("%s:1:1: %w", file, err)
		}
		if err == nil {
			docs = append(docs, spec.Document{File: file, Line: 1, Text: text})
		}
		return err
	})
	if err == nil && len(docs) == 0 {
		err = fmt.Errorf("%s has no YAML files", path)
	}
	return docs, err
}
