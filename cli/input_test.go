package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/windtunnel-mesh/windtunnel/source"
)

// hostile makes a folder of files that nobody should have to read: hostile DIR. And
// crlf.yaml gets the line ends of its name.
func hostile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hostile DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Join(dir, "loops"), 0o755))
	write := func(name, text string) { ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)) }
	write("binary.yaml", "\x7fELF\x00\x1b[2J\x1b]0;title\x07\xff\xfe"+strings.Repeat("\x00\x9b", 1000))
	write("huge.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: huge}\ndata:\n  x: "+strings.Repeat("x", source.Limit))
	write("deep.yaml", "a: "+strings.Repeat("[", 100_000))
	bomb := "x: &a0 x\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("x%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	write("bomb.yaml", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: bomb}\nspec: {configPatches: [{patch: {value: {x: *a11}}}]}\n"+bomb)
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	write("many.yaml", many.String())
	for _, name := range []string{"loop.yaml", "loops/loop"} {
		ts.Check(os.Symlink(filepath.Base(name), filepath.Join(dir, name)))
	}
	crlf := ts.MkAbs("crlf.yaml")
	text, err := os.ReadFile(crlf)
	ts.Check(err)
	ts.Check(os.WriteFile(crlf, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), 0o644))
}
