package trace

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func record(t *testing.T, texts ...string) *Recorder {
	r := New()
	synctest.Test(t, func(*testing.T) {
		for _, text := range texts {
			if text == "" {
				time.Sleep(time.Millisecond)
				continue
			}
			r.Add("kind", "who", text)
		}
	})
	return r
}

func TestDigest(t *testing.T) {
	base := record(t, "a", "b", "", "c")
	if d := base.Digest(); !strings.HasPrefix(d, "sha256:") || len(d) != 71 {
		t.Errorf("digest %q", d)
	}
	for _, c := range []struct {
		name  string
		other *Recorder
		equal bool
	}{
		{"order within one instant", record(t, "b", "a", "", "c"), true},
		{"another instant", record(t, "a", "", "b", "c"), false},
		{"one event less", record(t, "a", "b", ""), false},
		{"another text", record(t, "a", "b", "", "d"), false},
	} {
		if equal := c.other.Digest() == base.Digest(); equal != c.equal {
			t.Errorf("%s: equal is %t", c.name, equal)
		}
		if same := FirstDifference(base.Events(), c.other.Events(), 2) == ""; same != c.equal {
			t.Errorf("%s: no difference is %t", c.name, same)
		}
	}
	var none *Recorder
	none.Add("a", "b", "c")
	if none.Events() != nil {
		t.Error("a nil recorder recorded")
	}
}

func TestFirstDifference(t *testing.T) {
	event := func(i int, text string) Event {
		return Event{Time: time.Unix(int64(i), 5), Kind: "k", Who: "w", Text: text}
	}
	var a, b []Event
	for i := range 9 {
		a = append(a, event(i, fmt.Sprint(i)))
		b = append(b, event(i, fmt.Sprint(i)))
	}
	b[6].Text = "other"
	want := `the traces differ from line 7 (of 9 and 7)
  00:00:04.000000005 k w 4
  00:00:05.000000005 k w 5
- 00:00:06.000000005 k w 6
- 00:00:07.000000005 k w 7
- 00:00:08.000000005 k w 8
+ 00:00:06.000000005 k w other
`
	if got := FirstDifference(a, b[:7], 2); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := FirstDifference(a, a[:8], 1); !strings.Contains(got, "+ (end of trace)") {
		t.Errorf("got\n%s", got)
	}
}
