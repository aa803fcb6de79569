package inject

import "testing"

// FuzzExpand: what was escaped comes back, and nothing panics.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$(A)", "$(A", "$", "a$)(", "$()$$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		env := map[string]string{"A": "$(A)", "": "x"}
		Expand([]string{s}, env)
		if got := Expand([]string{escape(s)}, env)[0]; got != s {
			t.Fatalf("%q comes back as %q", s, got)
		}
	})
}
