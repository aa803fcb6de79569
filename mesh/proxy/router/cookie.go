package router

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// cookieField is a Set-Cookie value; a TTL of 0 makes a session cookie.
func cookieField(c *snapshot.HashCookie, value string) string {
	var b strings.Builder
	b.WriteString(c.Name + `="` + value + `"`)
	if c.TTL != nil && *c.TTL > 0 {
		b.WriteString("; Max-Age=" + strconv.Itoa(int(c.TTL.Seconds())))
	}
	if c.Path != "" {
		b.WriteString("; Path=" + c.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Attributes)) {
		b.WriteString("; " + name)
		if v := c.Attributes[name]; v != "" {
			b.WriteString("=" + v)
		}
	}
	b.WriteString("; HttpOnly")
	return b.String()
}
