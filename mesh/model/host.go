package model

import "strings"

// IsWildcard tells "*" and "*.example.com" from plain names.
func IsWildcard(host string) bool { return strings.HasPrefix(host, "*") }

// MatchesWildcard reports whether a host, itself possibly a wildcard, lies within a pattern.
func MatchesWildcard(pattern, host string) bool {
	if !IsWildcard(pattern) {
		return pattern == host
	}
	return strings.HasSuffix(strings.TrimPrefix(host, "*"), pattern[1:])
}

// Overlaps reports whether two hosts can name the same thing.
func Overlaps(a, b string) bool { return MatchesWildcard(a, b) || MatchesWildcard(b, a) }
