package cli

import (
	"bytes"
	"os"
	"testing"
)

func TestCatalogueIsCurrent(t *testing.T) {
	var out, messages bytes.Buffer
	if err := list(Streams{Out: &out, Err: &messages}, selection{paths: []string{"../scenarios"}}, "markdown"); err != nil {
		t.Fatalf("%v\n%s", err, messages.String())
	}
	written, err := os.ReadFile("../scenarios/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, out.Bytes()) {
		t.Error("scenarios/README.md is not what `windtunnel list scenarios -o markdown` prints: run `make catalogue`")
	}
}
