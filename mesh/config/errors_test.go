package config

import (
	"os"
	"strings"
	"testing"
)

// TestDiagnostics decodes each part of testdata/errors.txt, which are separated by
// lines of "=== name", and compares what Print says with what stands below "--- want".
// WINDTUNNEL_UPDATE=1 writes the file anew.
func TestDiagnostics(t *testing.T) {
	const path = "testdata/errors.txt"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written strings.Builder
	for _, part := range strings.Split(string(data), "=== ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		input, want, ok := strings.Cut(rest, "--- want\n")
		if !ok {
			t.Fatalf("%s: no \"--- want\"", name)
		}
		var got strings.Builder
		objects, diags := Decode("f.yaml", 1, []byte(input))
		Print(&got, diags)
		written.WriteString("=== " + name + "\n" + input + "--- want\n" + got.String())
		t.Run(name, func(t *testing.T) {
			if got.String() != want {
				t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
			}
			for _, d := range diags {
				if Meaning(d.Code) == "" {
					t.Errorf("code %q is not in the table", d.Code)
				}
				if d.Severity != Error {
					continue
				}
				for _, o := range objects {
					if o.Key() == d.Object {
						t.Errorf("%s has an error and is returned", o.Key())
					}
				}
			}
		})
	}
	if os.Getenv("WINDTUNNEL_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(written.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
