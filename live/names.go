package live

import (
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// names gives the namespaces of a scenario names of its own in the cluster, so that
// scenarios that run at one time do not meet, and nothing of the cluster's own is
// touched. The control plane's namespace is everybody's and keeps its name.
type names struct {
	system string
	suffix string            // of all fresh names of this world
	fresh  map[string]string // by the scenario's name
	back   *strings.Replacer
	// rules rewrite the names of namespaces inside texts.
	rules []rule
}

// rule says how one namespace is written inside a text.
type rule struct {
	pattern *regexp.Regexp
	with    string
}

// maxScenario leaves room for the rest in a DNS label of 63 characters.
const maxScenario = 28

// newNames makes the names of a scenario's namespaces: "wt-jason-1a2b3c" for its default
// one, "wt-jason-1a2b3c-other" for another. The hexadecimal digits are drawn.
func newNames(scenario, system string, namespaces []string) (*names, error) {
	draw := make([]byte, 3)
	if _, err := rand.Read(draw); err != nil {
		return nil, err
	}
	base := "wt-" + strings.Trim(scenario[:min(len(scenario), maxScenario)], "-.") + "-" + hex.EncodeToString(draw)
	n := &names{system: system, suffix: base, fresh: map[string]string{"default": base}}
	for _, ns := range namespaces {
		if ns != system && ns != "default" {
			n.fresh[ns] = base + "-" + ns
		}
	}
	var back []string
	// The longest first: one name begins with another.
	for _, ns := range slices.SortedFunc(keys(n.fresh), func(a, b string) int { return len(n.fresh[b]) - len(n.fresh[a]) }) {
		to := n.fresh[ns]
		back = append(back, to, ns)
		q := regexp.QuoteMeta(ns)
		n.rules = append(n.rules,
			rule{regexp.MustCompile(`\.` + q + `\.svc\b`), "." + to + ".svc"},
			rule{regexp.MustCompile(`\bns/` + q + `/`), "ns/" + to + "/"},
			rule{regexp.MustCompile(`(namespace\w*\s*[!=]?=~?\s*['"])` + q + `(['"])`), "${1}" + to + "${2}"})
	}
	n.back = strings.NewReplacer(back...)
	return n, nil
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// namespace is the cluster's name of a scenario's namespace; "" is its default one.
func (n *names) namespace(ns string) string {
	if ns == "" {
		ns = "default"
	}
	if to, ok := n.fresh[ns]; ok {
		return to
	}
	return ns
}

// scenario is the text with the scenario's own names.
func (n *names) scenario(text string) string { return n.back.Replace(text) }

// text rewrites the full names of Services, identities and PromQL's labels in a text.
func (n *names) text(s string) string {
	for _, r := range n.rules {
		s = r.pattern.ReplaceAllString(s, r.with)
	}
	return s
}

// host rewrites a host name, which may be as short as "reviews.default" or "db-0.db.default", with a port or without.
func (n *names) host(h string) string {
	name, port, colon := strings.Cut(h, ":")
	if service, ns, ok := strings.Cut(name, "."); ok && n.fresh[ns] != "" {
		name = service + "." + n.fresh[ns]
	} else if of, ns, dot := strings.Cut(ns, "."); dot && n.fresh[ns] != "" {
		name = service + "." + of + "." + n.fresh[ns]
	}
	if colon {
		name += ":" + port
	}
	return n.text(name)
}

// url rewrites the host of a URL.
func (n *names) url(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text
	}
	// The path goes out as it is written: only the host is replaced.
	return strings.Replace(text, "//"+u.Host, "//"+n.host(u.Host), 1)
}

// workload rewrites NAMESPACE/NAME.
func (n *names) workload(name string) string {
	if ns, rest, ok := strings.Cut(name, "/"); ok && n.fresh[ns] != "" {
		return n.fresh[ns] + "/" + rest
	}
	return name
}

// lists of namespaces, and single ones, in objects of all kinds.
var namespaceFields = []string{"namespace", "namespaces", "notNamespaces", "exportTo", "kubernetes.io/metadata.name", "networking.istio.io/exportTo"}

// object rewrites a decoded object in place.
func (n *names) object(o map[string]any) {
	for k, v := range o {
		o[k] = n.value(k, v)
	}
}

func (n *names) value(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		n.object(v)
	case []any:
		for i := range v {
			v[i] = n.value(key, v[i])
		}
	case string:
		if slices.Contains(namespaceFields, key) && n.fresh[v] != "" {
			return n.fresh[v]
		}
		if ns, name, ok := strings.Cut(v, "/"); ok && n.fresh[ns] != "" && (key == "gateways" || key == "hosts") {
			return n.fresh[ns] + "/" + n.host(name)
		}
		if key == "host" || key == "hosts" || key == "externalName" {
			return n.host(v)
		}
		return n.text(v)
	}
	return v
}
