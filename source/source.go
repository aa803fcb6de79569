// Package source is text as people write it: files are read within limits, and a line of
// one is shown with a mark, whatever the line holds. It imports nothing of ours.
package source

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limit is the most bytes that a file of YAML may have: ten times what an API server takes
// in one object, and little enough that what becomes of it fits into memory.
const Limit = 16 << 20

// TooLargeError is a file that has more.
type TooLargeError struct{}

// Error implements error.
func (TooLargeError) Error() string {
	return fmt.Sprintf("it is larger than %d MiB, the most that one file may have: split it", Limit>>20)
}

// Read reads a file. Its errors are os.ReadFile's, or a TooLargeError.
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f)
}

// ReadAll reads to the end.
func ReadAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, Limit+1))
	if err == nil && len(data) > Limit {
		return nil, TooLargeError{}
	}
	return data, err
}

// width is how much of a long line is shown, in characters.
const width = 160

// Show is a line as it can be printed, and below it a caret under a column (in
// characters, from 1; 0, or one that is not there: none). Of a long line what is around
// the column is shown; what no terminal should get is a dot.
func Show(line string, column int) (text, mark string) {
	runes := []rune(line)
	if len(line) > 64*width { // no need to look at all of a megabyte
		runes = []rune(line[:64*width])
	}
	if column > len(runes)+1 {
		column = 0
	}
	from := 0
	if column > width-20 {
		from = column - width/2
	}
	to := min(len(runes), from+width)
	var shown, indent strings.Builder
	if from > 0 {
		shown.WriteString("…")
		indent.WriteByte(' ')
	}
	for i, r := range runes[from:to] {
		if r == utf8.RuneError || r != '\t' && !unicode.IsPrint(r) {
			r = '·'
		}
		shown.WriteRune(r)
		switch {
		case from+i >= column-1:
		case r == '\t':
			indent.WriteByte('\t')
		default:
			indent.WriteByte(' ')
		}
	}
	if to < len(runes) || len(line) > 64*width {
		shown.WriteString("…")
	}
	if column > 0 {
		mark = indent.String() + "^"
	}
	return shown.String(), mark
}
