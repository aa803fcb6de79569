package kind

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docker puts a program of that name in front of PATH, which answers by its arguments.
func docker(t *testing.T, memory, state string) {
	t.Helper()
	dir := t.TempDir()
	text := `#!/bin/sh
case "$1 $*" in
*ServerVersion*) echo 20.10 ;;
*MemTotal*) echo ` + memory + ` ;;
"ps "*) echo books-control-plane ;;
*kind.role*) echo control-plane ;;
*State.Status*) echo ` + state + ` kindlab/node:v1 ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestAClusterOfTheName(t *testing.T) {
	for state, want := range map[string]string{
		"running": "there is a kind cluster books already, which is used: books-control-plane (kindlab/node:v1, running); another --name makes another, windtunnel kind delete --name books removes it",
		"exited":  "books-control-plane (kindlab/node:v1, exited); docker start books-control-plane revives it, windtunnel kind delete --name books removes it",
	} {
		docker(t, "4294967296", state)
		var said bytes.Buffer
		c, err := Open(t.Context(), Options{Name: "books", Progress: &said})
		if err != nil {
			t.Fatal(err)
		}
		err = c.found(CreateOptions{NodeImage: "other"})
		switch text := said.String(); {
		case state == "running" && (err != nil || !strings.Contains(text, want) || !strings.Contains(text, "warning: it stays as it is")):
			t.Errorf("%v\n%s", err, text)
		case state == "exited" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v", err)
		}
	}
}

func TestMemory(t *testing.T) {
	for memory, want := range map[string]string{"1073741824": "Docker has 1024 MiB of memory; a cluster with a mesh and bookinfo takes about 1536 MiB", "8589934592": ""} {
		docker(t, memory, "running")
		c, err := Open(t.Context(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Memory(t.Context()); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q", memory, got)
		}
	}
}
