// Package unified writes the difference of two texts as a unified diff without file
// names. It imports the standard library only.
package unified

import (
	"fmt"
	"strings"
)

// context is how many equal lines stand around a change.
const context = 3

// edit is one line of a diff: ' ', '-' or '+'.
type edit struct {
	op   byte
	text string
}

// Diff tells how to get from one text to another, in at most limit lines; "" where
// they are equal.
func Diff(from, to string, limit int) string {
	if from == to {
		return ""
	}
	edits := compare(lines(from), lines(to))
	var out []string
	for begin := 0; begin < len(edits); {
		if edits[begin].op == ' ' {
			begin++
			continue
		}
		first := max(begin-context, 0)
		last, equal := begin, 0 // behind the hunk's last change
		for i := begin; i < len(edits) && equal <= 2*context; i++ {
			if edits[i].op == ' ' {
				equal++
			} else {
				last, equal = i+1, 0
			}
		}
		end := min(last+context, len(edits))
		out = append(out, head(edits, first, end))
		for _, e := range edits[first:end] {
			out = append(out, string(e.op)+e.text)
		}
		begin = end
	}
	if len(out) > limit {
		out = append(out[:limit], fmt.Sprintf("… %d more lines", len(out)-limit))
	}
	return strings.Join(out, "\n") + "\n"
}

// head is the line that says where a hunk is, counted from 1; an empty side begins at 0.
func head(edits []edit, first, end int) string {
	a, b, countA, countB := 1, 1, 0, 0
	for i, e := range edits[:end] {
		inside := i >= first
		if e.op != '+' {
			if inside {
				countA++
			} else {
				a++
			}
		}
		if e.op != '-' {
			if inside {
				countB++
			} else {
				b++
			}
		}
	}
	if countA == 0 {
		a--
	}
	if countB == 0 {
		b--
	}
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@", a, countA, b, countB)
}

// compare finds a longest common subsequence of lines, between what both begin and
// end with. Texts that are too large for that count as rewritten.
func compare(a, b []string) []edit {
	var front, back []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		front = append(front, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		back = append(back, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	const largest = 4 << 20
	var length [][]int32 // of the subsequence from i, j on
	if len(a)*len(b) <= largest {
		length = make([][]int32, len(a)+1)
		for i := range length {
			length[i] = make([]int32, len(b)+1)
		}
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					length[i][j] = length[i+1][j+1] + 1
				} else {
					length[i][j] = max(length[i+1][j], length[i][j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case length != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			front = append(front, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || length == nil || length[i+1][j] >= length[i][j+1]):
			front = append(front, edit{'-', a[i]})
			i++
		default:
			front = append(front, edit{'+', b[j]})
			j++
		}
	}
	for k := len(back) - 1; k >= 0; k-- {
		front = append(front, back[k])
	}
	return front
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
