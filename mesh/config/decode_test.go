package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDecodeBookinfoManifests(t *testing.T) {
	files, err := filepath.Glob("../../bookinfo/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		objects, diags := Decode(filepath.Base(f), 1, data)
		Print(os.Stdout, diags)
		t.Log(f, len(objects))
	}
}
