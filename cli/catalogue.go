package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// catalogue writes rows as a page of Markdown with a table per theme, which is the
// folder. Links are relative to the listed folder, where the page belongs.
func catalogue(w io.Writer, paths []string, rows []listed) error {
	root := defaultPath
	if len(paths) > 0 {
		root = paths[0]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The scenarios\n\n`make catalogue` writes this page. `windtunnel run scenarios/THEME` runs a theme, `--run NAME` one scenario.\n")
	theme := ""
	for _, r := range rows {
		file, err := filepath.Rel(root, r.File)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		file = filepath.ToSlash(file)
		if folder, _, _ := strings.Cut(file, "/"); folder != theme {
			theme = folder
			fmt.Fprintf(&b, "\n## %s\n\n| scenario | what it shows | runs in |\n| --- | --- | --- |\n", theme)
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s |\n", r.Name, file,
			strings.ReplaceAll(r.Description, "|", `\|`), strings.Join(r.Environments, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
