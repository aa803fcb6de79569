package diff

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// JSON writes the report as it is.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// head is the request in one line.
func (c *Change) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Method, c.URL)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		fmt.Fprintf(&b, " (%s: %s)", name, c.Headers[name])
	}
	if c.Token != "" {
		fmt.Fprintf(&b, " (token: %s)", c.Token)
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (r *Report) verdict() string {
	return fmt.Sprintf("%d of the compared requests change; %d were compared", r.changed(), r.Requests)
}

// changed counts as Requests does: each request once per client.
func (r *Report) changed() int {
	n := 0
	for i := range r.Changes {
		n += len(r.Changes[i].From)
	}
	return n
}

// Text writes the report for terminals.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for i := range r.Changes {
		c := &r.Changes[i]
		fmt.Fprintf(&b, "%s\n  from %s\n", c.head(), strings.Join(c.From, ", "))
		for _, d := range c.Differences {
			fmt.Fprintf(&b, "  %-13s - %s\n  %-13s + %s\n", d.Aspect, orNone(d.Old), "", orNone(d.New))
		}
		b.WriteByte('\n')
	}
	b.WriteString(r.verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report as a table, for pull requests.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Behaviour\n\n%s.\n", r.verdict())
	if len(r.Changes) > 0 {
		b.WriteString("\n| request | from | | old | new |\n| --- | --- | --- | --- | --- |\n")
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		head, from := "`"+cell(c.head())+"`", cell(strings.Join(c.From, ", "))
		for _, d := range c.Differences {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", head, from, d.Aspect, cell(orNone(d.Old)), cell(orNone(d.New)))
			head, from = "", ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps a text in its cell.
func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ") }
