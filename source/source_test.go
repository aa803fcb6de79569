package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	long := strings.Repeat("a", 500) + "!" + strings.Repeat("b", 500)
	for name, c := range map[string]struct {
		line       string
		column     int
		text, mark string
	}{
		"plain":        {"a: b", 4, "a: b", "   ^"},
		"tab":          {"\ta: b", 3, "\ta: b", "\t ^"},
		"behind it":    {"ab", 3, "ab", "  ^"},
		"not in it":    {"ab", 9, "ab", ""},
		"no column":    {"ab", 0, "ab", ""},
		"escapes":      {"\x1b[2Jx\x00\xff", 5, "·[2Jx··", "    ^"},
		"long, early":  {long, 2, strings.Repeat("a", 160) + "…", " ^"},
		"long, middle": {long, 501, "…" + strings.Repeat("a", 79) + "!" + strings.Repeat("b", 80) + "…", " " + strings.Repeat(" ", 79) + "^"},
	} {
		if text, mark := Show(c.line, c.column); text != c.text || mark != c.mark {
			t.Errorf("%s:\n%q\n%q", name, text, mark)
		}
	}
}

func TestLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for size, want := range map[int]error{Limit: nil, Limit + 1: TooLargeError{}} {
		if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(file); !errors.Is(err, want) || err == nil && len(data) != size {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
}
