package live

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// inCluster is a place as the control plane of a cluster names it: an object, and a
// line of the YAML that it would be.
var inCluster = regexp.MustCompile(`^([A-Z]\w+)/([^/:]+)/([^/:]+):(\d+)$`)

// placed is an object as the control plane reads it, and as the scenario's file has it.
type placed struct{ read, written *config.Object }

// sources finds the lines of the scenario's files behind places in the cluster.
type sources struct {
	world *World
	ctx   context.Context
	read  map[string]*placed
}

// rewrite replaces places everywhere in an object.
func (s *sources) rewrite(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if text, ok := inner.(string); ok && k == "source" {
				v[k] = s.of(text)
			} else {
				s.rewrite(inner)
			}
		}
	case []any:
		for _, inner := range v {
			s.rewrite(inner)
		}
	}
}

// of is the place in the scenario's file, or what the cluster calls it where nobody
// knows better.
func (s *sources) of(text string) string {
	m := inCluster.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	key := m[1] + "/" + m[2] + "/" + m[3]
	p, known := s.read[key]
	if !known {
		p = s.find(m[1], m[2], m[3])
		s.read[key] = p
	}
	line, err := strconv.Atoi(m[4])
	if p == nil || err != nil {
		return text
	}
	at := p.written.At(p.read.PathAt(line))
	return fmt.Sprintf("%s:%d", at.File, at.Line)
}

func (s *sources) find(kind, namespace, name string) *placed {
	written := s.world.written[kind+"/"+namespace+"/"+name]
	if written == nil {
		return nil
	}
	version := strings.TrimPrefix(written.Group+"/"+written.Version, "/")
	u, err := s.world.client.Get(s.ctx, kube.Resource(version, kind), s.world.names.namespace(namespace), name)
	if err != nil || u == nil {
		return nil
	}
	read, ok := kube.Read(u)
	if !ok {
		return nil
	}
	return &placed{read, written}
}

// ruleName is what the control plane calls a rule of an AuthorizationPolicy in RBAC.
var ruleName = regexp.MustCompile(`^ns\[(.+)\]-policy\[(.+)\]-rule\[(\d+)\]$`)

// policySource finds the YAML behind a rule of RBAC, or that of an issuer of tokens.
func (v *surroundings) policySource(kind, name string) string {
	w := v.world
	at := func(o *config.Object, path string) string {
		p := o.At(path)
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if kind == "authorization" {
		m := ruleName.FindStringSubmatch(w.names.scenario(name))
		if m == nil {
			return ""
		}
		if o := w.written["AuthorizationPolicy/"+m[1]+"/"+m[2]]; o != nil {
			return at(o, "spec.rules["+m[3]+"]")
		}
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(w.written)) {
		o := w.written[key]
		a, ok := o.Value.(*securityv1.RequestAuthentication)
		if !ok {
			continue
		}
		for i, r := range a.Spec.GetJwtRules() {
			if r.GetIssuer() == name {
				return at(o, fmt.Sprintf("spec.jwtRules[%d]", i))
			}
		}
	}
	return ""
}
