package expect

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	overload   = regexp.MustCompile(`^found no matching overload for '([^']+)' applied to '([^']*)'`)
	mismatched = regexp.MustCompile(`^Syntax error: (?:mismatched|extraneous) input '(.*?)' expecting`)
	anyMap     = regexp.MustCompile(`map\([^()]*\)`)
	unreadable = regexp.MustCompile(`^Syntax error: token recognition error at: '(.*)'`)
)

// instead is what CEL writes for what other languages have.
var instead = map[string]string{"and": "; write &&", "or": "; write ||", "=": "; write ==", "&": "; write &&", "|": "; write ||", "not": "; write !"}

// inWords says what CEL's type checker and parser complain of without their own names
// for operators, types and tokens; false: they complain of something else.
func inWords(message string) (string, bool) {
	if m := overload.FindStringSubmatch(message); m != nil {
		of, types, method := strings.Cut(anyMap.ReplaceAllString(m[2], "map"), ".(")
		if !method {
			of, types = "", of
		}
		types = strings.ReplaceAll(strings.Trim(types, "()"), ", ", " and ")
		switch operator := strings.ReplaceAll(m[1], "_", ""); {
		case operator != m[1]:
			return fmt.Sprintf("%q does not go with %s", operator, types), true
		case method:
			return fmt.Sprintf("%s() of %s does not take %s", m[1], of, types), true
		}
		return fmt.Sprintf("%s() does not take %s", m[1], types), true
	}
	if m := mismatched.FindStringSubmatch(message); m != nil {
		if m[1] == "<EOF>" {
			return "it ends too early: a bracket or a value is missing", true
		}
		return fmt.Sprintf("%q is not expected here%s", m[1], instead[m[1]]), true
	}
	if m := unreadable.FindStringSubmatch(message); m != nil {
		word := strings.TrimSpace(m[1])
		return fmt.Sprintf("%q has no meaning in expressions%s", word, instead[word]), true
	}
	return "", false
}
