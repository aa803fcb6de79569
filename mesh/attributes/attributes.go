// Package attributes has the expressions that filter access logs and make the labels of
// metrics: CEL over Envoy's attributes (docs: "Attributes"). What comes in are texts and
// the attributes of exchanges, by group; what goes out are decisions and values. Both
// planes use it: the control plane to find mistakes, the data plane to evaluate. It
// imports nothing of ours.
package attributes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// groups are the attributes that are known, by their first word.
var groups = map[string][]string{
	"request": {"path", "url_path", "host", "scheme", "method", "headers", "referer", "useragent", "time", "id", "protocol", "query",
		"duration", "size"},
	"response":    {"code", "code_details", "flags", "grpc_status", "headers", "size"},
	"source":      {"address", "port"},
	"destination": {"address", "port"},
	"connection": {"id", "mtls", "requested_server_name", "tls_version", "subject_peer_certificate", "uri_san_peer_certificate",
		"uri_san_local_certificate", "dns_san_peer_certificate", "sha256_peer_certificate_digest"},
	"upstream":        {"address", "port", "local_address", "transport_failure_reason", "request_attempt_count"},
	"xds":             {"cluster_name", "route_name", "virtual_host_name", "listener_direction", "node"},
	"metadata":        {"filter_metadata"},
	"upstream_peer":   peer,
	"downstream_peer": peer,
}

// peer are the attributes of Istio's for the workload at the other end.
var peer = []string{"workload", "namespace", "cluster", "service", "revision", "app", "version"}

// Source tells the attributes of a group by their names; what is absent is not in it.
type Source func(group string) map[string]any

// Program is a compiled expression.
type Program struct {
	program cel.Program
	output  *cel.Type
}

// Compile compiles an expression. An attribute that is not known is an error.
func Compile(text string) (*Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the expression is empty")
	}
	var options []cel.EnvOption
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		options = append(options, cel.Variable(name, cel.MapType(cel.StringType, cel.DynType)))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	parsed, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first, _, _ := strings.Cut(issues.Errors()[0].Message, "\n")
		if strings.HasPrefix(first, "undeclared reference to 'node'") {
			first += "; Envoy calls it xds.node"
		}
		return nil, fmt.Errorf("%q: %s", text, first)
	}
	if err := known(parsed); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	program, err := env.Program(parsed)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return &Program{program, parsed.OutputType()}, nil
}

// CompileFilter compiles an expression that is to be true or false.
func CompileFilter(text string) (*Program, error) {
	p, err := Compile(text)
	if err == nil && !p.output.IsAssignableType(cel.BoolType) {
		return nil, fmt.Errorf("%q is a %s, expected true or false", text, p.output)
	}
	return p, err
}

// known refuses the names of attributes that are not in groups.
func known(parsed *cel.Ast) error {
	var problem error
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind || e.AsSelect().Operand().Kind() != ast.IdentKind {
			return
		}
		group, name := e.AsSelect().Operand().AsIdent(), e.AsSelect().FieldName()
		if names, ok := groups[group]; ok && !slices.Contains(names, name) {
			problem = fmt.Errorf("the attribute %s.%s is not supported: %s has %s", group, name, group, strings.Join(names, ", "))
		}
	}))
	return problem
}

func (p *Program) eval(s Source) (ref.Val, error) {
	made := make(map[string]any, len(groups))
	for group := range groups {
		made[group] = func() any { return s(group) } // called where the expression needs it
	}
	v, _, err := p.program.Eval(made)
	return v, err
}

// Holds tells whether an expression is true; one that fails is not.
func (p *Program) Holds(s Source) bool {
	v, err := p.eval(s)
	return err == nil && v == types.True
}

// Text is the value of an expression as a label has it; false where there is none: an
// attribute is absent, or the value is neither text nor number nor boolean.
func (p *Program) Text(s Source) (string, bool) {
	v, err := p.eval(s)
	if err != nil {
		return "", false
	}
	switch v := v.(type) {
	case types.String:
		return string(v), true
	case types.Int, types.Uint, types.Double, types.Bool:
		return fmt.Sprint(v.Value()), true
	default:
		return "", false
	}
}
