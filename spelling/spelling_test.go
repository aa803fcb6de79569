package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"count", "parallel", "url", "interval", "headers"}
	for word, want := range map[string]string{
		"cuont": "count", "Count": "count", "coutn": "count", "paralel": "parallel", "ulr": "url", "header": "headers",
		"intervals": "interval", "weather": "", "x": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) is %q, want %q", word, got, want)
		}
	}
}
