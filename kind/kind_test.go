package kind

import (
	"bytes"
	"errors"
	"fmt"
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
"image image inspect here") ;;
"image image inspect "*) exit 1 ;;
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

func TestAnImageThatIsNotThere(t *testing.T) {
	docker(t, "4294967296", "running")
	if hint := withoutImage("here"); hint != "" {
		t.Errorf("it is there: %s", hint)
	}
	if hint := withoutImage("there"); !strings.Contains(hint, "Docker has no image there: --node-image") {
		t.Errorf("it is not there: %q", hint)
	}
	c, err := Open(t.Context(), Options{Name: "films"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(CreateOptions{IPFamily: "ipx"}); !errors.Is(err, ErrConfiguration) {
		t.Errorf("a family that there is not: %v", err)
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

func TestConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {apiServerAddress: 127.0.0.1}\nnodes: [{role: control-plane}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	given := file + "6"
	if err := os.WriteFile(given, []byte("networking: {ipFamily: ipv6}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o     CreateOptions
		wants []string // of the configuration, or of the error
	}{
		{CreateOptions{IPFamily: "dual"}, []string{"kind: Cluster", "networking:\n    ipFamily: dual"}},
		{CreateOptions{IPFamily: "ipv6", Config: file}, []string{"apiServerAddress: 127.0.0.1\n    ipFamily: ipv6", "role: control-plane"}},
		{CreateOptions{IPFamily: "ipv6", Config: given}, []string{"ipFamily: ipv6"}},
		{CreateOptions{IPFamily: "dual", Config: given}, []string{"says networking.ipFamily: ipv6, and dual is asked for"}},
		{CreateOptions{IPFamily: "ipx"}, []string{`the IP family "ipx" is none of ipv4, ipv6, dual`}},
		{CreateOptions{Config: file + "?"}, []string{"no such file"}},
	} {
		text, err := configuration(c.o)
		for _, want := range c.wants {
			if !strings.Contains(string(text)+fmt.Sprint(err), want) {
				t.Errorf("%+v: %q is not in\n%s%v", c.o, want, text, err)
			}
		}
	}
	if text, err := configuration(CreateOptions{}); text != nil || err != nil {
		t.Errorf("nothing is asked for: %s %v", text, err)
	}
}
