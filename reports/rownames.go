package reports

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// Shorten leaves out of configurations' names the parts that all rows share.
func Shorten(rows []stat.Row) func(string) string {
	count := parts(rows)
	return func(name string) string {
		var kept []string
		for part := range strings.SplitSeq(name, "/") {
			if count[part] < len(rows) {
				kept = append(kept, part)
			}
		}
		if len(kept) == 0 {
			return name
		}
		return strings.Join(kept, "/")
	}
}

// CommonParts are what all rows' configurations have in their names; "" where there is one
// configuration only, whose name is shown.
func CommonParts(rows []stat.Row) string {
	if len(rows) == 0 {
		return ""
	}
	count := parts(rows)
	var all []string
	for part := range strings.SplitSeq(rows[0].Configuration, "/") {
		if count[part] == len(rows) {
			all = append(all, part)
		}
	}
	if name := strings.Join(all, "/"); name != rows[0].Configuration {
		return name
	}
	return ""
}

func parts(rows []stat.Row) map[string]int {
	count := map[string]int{}
	for _, r := range rows {
		for part := range strings.SplitSeq(r.Configuration, "/") {
			count[part]++
		}
	}
	return count
}
