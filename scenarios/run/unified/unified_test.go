package unified

import "testing"

func TestDiff(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"equal", "a\nb\n", "a\nb\n", ""},
		{"created", "", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"deleted", "a\n", "", "@@ -1,1 +0,0 @@\n-a\n"},
		{"changed", "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nfive\n6\n", "@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n+five\n 6\n"},
		{"two hunks", "a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
			"@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n"},
		{"joined hunks", "a\n1\n2\nb\n", "A\n1\n2\nB\n", "@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n-b\n+B\n"},
		{"cut", "", "a\nb\nc\nd\n", "@@ -0,0 +1,4 @@\n+a\n+b\n… 2 more lines\n"},
	} {
		limit := 100
		if c.name == "cut" {
			limit = 3
		}
		if got := Diff(c.from, c.to, limit); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}
