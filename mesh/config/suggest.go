package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// didYouMean is the hint for a word that is none of the known ones: the nearest, or,
// where none is near, what is known (as long as that is a short list).
func didYouMean(word string, known []string) string {
	if best := spelling.Nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 || len(known) > 17 {
		return ""
	}
	return "known here: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
