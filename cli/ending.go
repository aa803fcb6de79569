package cli

import (
	"bytes"
	"strings"
	"sync"
)

// The first words of a process that ends badly: the watchdog's, and Go's own.
const stuckWords = "bubble: stuck: "

var badWords = []string{stuckWords, "panic: ", "fatal error: ", "runtime: out of memory"}

const (
	wordsKept  = 1 << 20 // bytes of stderr
	linesShown = 200
)

// ending keeps the end of what a process writes to stderr, and knows where in it the
// reason of a bad end begins: before the stacks of, perhaps, a thousand goroutines.
type ending struct {
	mu   sync.Mutex
	kept []byte
}

func (l *ending) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if len(l.kept) > 2*wordsKept {
		l.kept = append(l.kept[:0], l.kept[len(l.kept)-wordsKept:]...)
	}
	return len(p), nil
}

func (l *ending) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = l.kept[:0]
}

// String is the reason of a bad end and the lines after it, or the last lines where there is none.
func (l *ending) String() string {
	l.mu.Lock()
	text := string(bytes.TrimSpace(l.kept))
	l.mu.Unlock()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for _, words := range badWords {
			if strings.HasPrefix(line, words) {
				return shown(lines[i:])
			}
		}
	}
	return strings.Join(lines[max(0, len(lines)-linesShown):], "\n")
}

func shown(lines []string) string {
	if len(lines) > linesShown {
		lines = append(lines[:linesShown:linesShown], "…")
	}
	return strings.Join(lines, "\n")
}
