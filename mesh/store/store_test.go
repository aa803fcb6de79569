package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

const (
	rule    = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: %s}\nspec: {host: %s}\n"
	account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n"
)

func decode(t testing.TB, text string) []*config.Object {
	t.Helper()
	objects, diags := config.Decode("f.yaml", 1, []byte(text))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	return objects
}

func names(v *View, kind string) string {
	var list []string
	for _, o := range v.Of(kind) {
		list = append(list, o.Namespace+"/"+o.Name)
	}
	return strings.Join(list, " ")
}

func TestMemoryViews(t *testing.T) {
	m := NewMemory(MemoryOptions{})
	empty := m.View()
	first := m.Apply(decode(t, fmt.Sprintf(rule+"---\n"+rule+"---\n"+account, "b", "b", "a", "a", "s"))...)
	if first.Revision != 1 || names(first, "DestinationRule") != "default/a default/b" || len(empty.All()) != 0 {
		t.Fatalf("revision %d, %s", first.Revision, names(first, "DestinationRule"))
	}
	select {
	case <-m.Changed(empty):
	default:
		t.Error("there is a newer View than the empty one")
	}
	changed := m.Changed(first)

	// The same again, in another decoding, is no change.
	if again := m.Apply(decode(t, fmt.Sprintf(rule, "a", "a"))...); again != first {
		t.Errorf("revision %d for an equal object", again.Revision)
	}
	select {
	case <-changed:
		t.Error("an equal object is announced")
	default:
	}

	a := first.Get("DestinationRule", "default", "a")
	second := m.Update(decode(t, fmt.Sprintf(rule, "a", "other")), []config.Key{first.Get("DestinationRule", "default", "b").Key(), {Kind: "None"}})
	<-changed
	if names(second, "DestinationRule") != "default/a" || names(first, "DestinationRule") != "default/a default/b" {
		t.Errorf("second %s, first %s", names(second, "DestinationRule"), names(first, "DestinationRule"))
	}
	if now := second.Get("DestinationRule", "default", "a"); now == a || !now.Created.Equal(a.Created) || now.Value.(*networkingv1.DestinationRule).Spec.Host != "other" {
		t.Errorf("%+v after %+v", now, a)
	}
	if &second.Of("ServiceAccount")[0] != &first.Of("ServiceAccount")[0] {
		t.Error("a kind that does not change is shared")
	}
	if third := m.Delete(a.Key()); third.Of("DestinationRule") != nil || third.Revision != 3 {
		t.Errorf("revision %d: %s", third.Revision, names(third, "DestinationRule"))
	}
}

func TestMemoryDatesObjectsInOrder(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := NewMemory(MemoryOptions{Now: func() time.Time { return start }})
	v := m.Apply(decode(t, fmt.Sprintf(account+"---\n"+account, "z", "a"))...)
	z, a := v.Get("ServiceAccount", "default", "z"), v.Get("ServiceAccount", "default", "a")
	if !z.Created.Equal(start) || !a.Created.Equal(start.Add(1)) {
		t.Errorf("z %s, a %s", z.Created, a.Created)
	}
	old := decode(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: old, creationTimestamp: \"2020-01-01T00:00:00Z\"}\n")
	v = m.Apply(old...)
	if got := v.Get("ServiceAccount", "default", "old").Created.Year(); got != 2020 {
		t.Errorf("created in %d", got)
	}
	v = NewView(append(decode(t, fmt.Sprintf(account, "new")), v.All()...)...)
	if got := v.Get("ServiceAccount", "default", "new").Created; !got.After(a.Created) {
		t.Errorf("an object without a time is the newest, got %s", got)
	}
}

func TestGatewaysOfBothKindsStandApart(t *testing.T) {
	v := NewView(decode(t, `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
`)...)
	if len(v.Of("Gateway")) != 1 || len(v.Of("gateway.networking.k8s.io/Gateway")) != 1 {
		t.Errorf("%v", v.All())
	}
}

func TestWatchHoldsOffBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m := NewMemory(MemoryOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		go Watch(ctx, m, WatchOptions{Quiet: 100 * time.Millisecond, Max: time.Second}, func(v *View) {
			got = append(got, fmt.Sprintf("%d@%s", v.Revision, time.Since(start)))
		})
		change := func(after time.Duration) {
			time.Sleep(after)
			m.Apply(decode(t, fmt.Sprintf(account, fmt.Sprintf("a%d", m.View().Revision)))...)
		}
		change(time.Second) // alone: 100 ms later
		time.Sleep(time.Second)
		change(0) // three in a row: 100 ms after the last
		change(50 * time.Millisecond)
		change(99 * time.Millisecond)
		time.Sleep(851 * time.Millisecond)
		for range 30 { // without end: 1 s after the first, and again
			change(60 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		cancel()
		synctest.Wait()
		want := []string{"0@0s", "1@1.1s", "4@2.249s", "21@4.06s", "34@4.9s"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", fmt.Sprintf(account, "a"))
	write("sub/b.yml", fmt.Sprintf(account, "b"))
	write("sub/note.txt", "not ours")
	write("..data/c.yaml", fmt.Sprintf(account, "c"))
	diags := make(chan []config.Diagnostic, 10)
	ctx, cancel := context.WithCancel(t.Context())
	f, err := NewFolder(ctx, dir, FolderOptions{Interval: 2 * time.Millisecond, OnDiagnostics: func(d []config.Diagnostic) { diags <- d }})
	if err != nil {
		t.Fatal(err)
	}
	v := f.View()
	if d := <-diags; len(d) != 0 || names(v, "ServiceAccount") != "default/a default/b" {
		t.Fatalf("%v %s", d, names(v, "ServiceAccount"))
	}

	write("sub/b.yml", "apiVersion: v1\nkind: ServiceAcount\nmetadata: {name: b}\n")
	if d := <-diags; len(d) != 1 || d[0].Code != config.CodeUnknownKind || f.View() != v {
		t.Errorf("a file with an error keeps its last good state: %v %s", d, names(f.View(), "ServiceAccount"))
	}
	write("sub/b.yml", fmt.Sprintf("# moved\n"+account+"---\n"+account, "b", "b2"))
	<-f.Changed(v)
	v = f.View()
	if d := <-diags; len(d) != 0 || names(v, "ServiceAccount") != "default/a default/b default/b2" || v.Get("ServiceAccount", "default", "b").Position().Line != 2 {
		t.Errorf("%v %s", d, names(v, "ServiceAccount"))
	}
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	<-f.Changed(v)
	if got := names(f.View(), "ServiceAccount"); got != "default/b default/b2" {
		t.Error(got)
	}
	cancel()
	<-f.Done()
	if _, err := NewFolder(t.Context(), filepath.Join(dir, "none"), FolderOptions{}); err == nil {
		t.Error("a folder that is not there")
	}
}
