// Package expect has the language of expectations: CEL over the typed results of
// steps. Expressions and results come in; problems with their file:line:col, and
// outcomes that show the values, go out. It runs nothing and knows no world but
// through Host; of ours it imports scenarios/spec only.
package expect

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Host answers what expressions ask the running world.
type Host interface {
	Endpoint(workload, client string) (Endpoint, error)
	// Logs are the lines that a workload's proxies wrote into access logs.
	Logs(workload string) ([]string, error)
}

// Language compiles and evaluates. It keeps what it compiled; one goroutine uses it.
type Language struct {
	host    Host
	base    *cel.Env
	scopes  map[string]*cel.Env
	asts    map[string]*cel.Ast
	current *Traffic // what ok() is about
}

// New makes the language of one run. host may be nil where nothing is evaluated.
func New(host Host) (*Language, error) {
	l := &Language{host: host, scopes: map[string]*cel.Env{}, asts: map[string]*cel.Ast{}}
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("expressions: %w", err)
	}
	counts := cel.MapType(cel.StringType, cel.IntType)
	l.base, err = cel.NewEnv(
		cel.CustomTypeProvider(provider{registry}),
		cel.EnableMacroCallTracking(), // so that a macro is shown as it was written
		cel.CrossTypeNumericComparisons(true),
		ext.Strings(),
		cel.Function("share", cel.Overload("share_counts_string", []*cel.Type{counts, cel.StringType}, cel.DoubleType,
			cel.BinaryBinding(share))),
		cel.Function("endpoint", cel.Overload("endpoint_string_string", []*cel.Type{cel.StringType, cel.StringType}, endpointType,
			cel.BinaryBinding(l.endpoint))),
		cel.Function("logs", cel.Overload("logs_string", []*cel.Type{cel.StringType}, cel.ListType(cel.StringType), cel.UnaryBinding(l.logs))),
	)
	if err != nil {
		return nil, fmt.Errorf("expressions: %w", err)
	}
	return l, nil
}

// Reserved are the names that a kept result may not take.
func Reserved() []string {
	names := []string{"share", "endpoint", "logs", "ok", "duration", "timestamp", "size", "int", "uint", "double", "string", "bytes",
		"bool", "list", "map", "type", "dyn", "has", "in", "true", "false", "null", "as", "break", "const", "continue", "else", "for",
		"function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}
	for _, t := range []string{"Traffic", "Applied", "Queried", "Traced", "Released"} {
		for _, f := range structs[t] {
			names = append(names, f.name)
		}
	}
	return append(names, ExplainedFields()...)
}

// resultType is the type of an operation's result; nil where it has none.
func resultType(operation string) *cel.Type {
	switch operation {
	case "explain":
		return explainedType
	case "request", "load", "finish":
		return trafficType
	case "apply":
		return appliedType
	case "query":
		return queriedType
	case "traces":
		return tracedType
	case "canary":
		return releasedType
	}
	return nil
}

// scope is the environment in which the fields of a step's result and the kept
// results are variables.
func (l *Language) scope(s spec.Scope) (*cel.Env, string, error) {
	var kept []string
	for name, operation := range s.Kept {
		kept = append(kept, name+"="+operation)
	}
	slices.Sort(kept)
	key := s.Operation + " " + strings.Join(kept, " ")
	if env := l.scopes[key]; env != nil {
		return env, key, nil
	}
	var options []cel.EnvOption
	if t := resultType(s.Operation); t != nil {
		for _, f := range structs[t.TypeName()] {
			options = append(options, cel.Variable(f.name, f.typ))
		}
		if t == trafficType {
			options = append(options, cel.Function("ok", cel.Overload("ok_result", nil, cel.BoolType,
				cel.FunctionBinding(func(...ref.Val) ref.Val { return types.Bool(l.current.OK()) }))))
		}
	}
	for name, operation := range s.Kept {
		if t := resultType(operation); t != nil && !slices.Contains(Reserved(), name) {
			options = append(options, cel.Variable(name, t))
		}
	}
	env, err := l.base.Extend(options...)
	if err != nil {
		return nil, "", fmt.Errorf("expressions: %w", err)
	}
	l.scopes[key] = env
	return env, key, nil
}

// compile parses and type-checks an expression in a scope.
func (l *Language) compile(e spec.Expression, s spec.Scope) (*cel.Env, *cel.Ast, []spec.Problem) {
	env, key, err := l.scope(s)
	if err != nil {
		return nil, nil, []spec.Problem{{Position: e.Position, Message: err.Error()}}
	}
	if ast := l.asts[key+"\n"+e.Text]; ast != nil {
		return env, ast, nil
	}
	ast, issues := env.Compile(e.Text)
	if issues.Err() != nil {
		var problems []spec.Problem
		for _, err := range issues.Errors() {
			problems = append(problems, spec.Problem{Position: place(e, err), Message: explain(err.Message, s)})
		}
		return nil, nil, problems
	}
	if t := ast.OutputType(); t != cel.BoolType && t != cel.DynType {
		return nil, nil, []spec.Problem{{Position: e.Position,
			Message: fmt.Sprintf("expectation `%s` is %s, expected true or false: compare it with something", e.Text, cel.FormatCELType(t))}}
	}
	if !asks(ast, s) {
		return nil, nil, []spec.Problem{{Position: e.Position,
			Message: fmt.Sprintf("expectation `%s` depends on nothing that the scenario does", e.Text)}}
	}
	l.asts[key+"\n"+e.Text] = ast
	return env, ast, nil
}

// Check finds what is wrong with an expression; it has the form of spec.Options.Check.
func (l *Language) Check(e spec.Expression, s spec.Scope) []spec.Problem {
	_, _, problems := l.compile(e, s)
	return problems
}

// place is an error's position in the scenario file.
func place(e spec.Expression, err *cel.Error) spec.Position {
	p := e.Position
	if err.Location.Line() > 1 {
		p.Line += err.Location.Line() - 1
	}
	p.Col += max(err.Location.Column(), 0)
	return p
}

// explain words a CEL error for someone who does not know CEL's insides.
func explain(message string, s spec.Scope) string {
	quoted := func(prefix string) (string, bool) {
		rest, ok := strings.CutPrefix(message, prefix+" '")
		name, _, _ := strings.Cut(rest, "'")
		return name, ok
	}
	if name, ok := quoted("undeclared reference to"); ok {
		if resultType(s.Operation) != trafficType && slices.ContainsFunc(structs["Traffic"], func(f structField) bool { return f.name == name }) {
			return fmt.Sprintf("%q is in the result of request, load and finish, which this step is not", name)
		}
		return fmt.Sprintf("unknown name %q in the expectation%s", name, spec.Suggest(name, names(s)))
	}
	if name, ok := quoted("undefined field"); ok {
		var fields []string
		for _, t := range []string{"Traffic", "Latency", "Percentiles", "TLS", "Applied", "Endpoint", "Traced", "Span", "Released"} {
			for _, f := range structs[t] {
				fields = append(fields, f.name)
			}
		}
		return fmt.Sprintf("unknown field %q in the expectation%s", name, spec.Suggest(name, fields))
	}
	hint := ""
	switch {
	case strings.Contains(message, "(duration, string)"), strings.Contains(message, "(duration, int)"):
		hint = `; write durations as duration("20ms")`
	case strings.Contains(message, "'(double, int)'"), strings.Contains(message, "'(int, double)'"):
		hint = "; write 2.0 instead of 2, or double(count)"
	}
	message, _, _ = strings.Cut(message, "\n")
	if words, ok := inWords(message); ok {
		message = words
	}
	return "expectation: " + message + hint
}

// names are all that an expression may call or mention in a scope.
func names(s spec.Scope) []string {
	all := []string{"share", "endpoint", "logs", "ok", "duration", "size"}
	if t := resultType(s.Operation); t != nil {
		for _, f := range structs[t.TypeName()] {
			all = append(all, f.name)
		}
	}
	for name := range s.Kept {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// asks tells whether an expression depends on a result or on the world.
func asks(ast *cel.Ast, s spec.Scope) bool {
	known := names(s)
	found := false
	celast.PostOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		switch e.Kind() {
		case celast.IdentKind:
			found = found || slices.Contains(known, e.AsIdent())
		case celast.CallKind:
			f := e.AsCall().FunctionName()
			found = found || f == "ok" || f == "endpoint" || f == "logs"
		}
	}))
	return found
}

// Mentions tells whether an expression reads a variable of its step's result.
func (l *Language) Mentions(e spec.Expression, variable string) bool {
	ast, issues := l.base.Parse(e.Text)
	if issues.Err() != nil {
		return false
	}
	found := false
	celast.PostOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		found = found || e.Kind() == celast.IdentKind && e.AsIdent() == variable
	}))
	return found
}

func (l *Language) endpoint(workload, client ref.Val) ref.Val {
	if l.host == nil {
		return types.NewErr("no world to ask")
	}
	e, err := l.host.Endpoint(string(workload.(types.String)), string(client.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return e.value()
}

func (l *Language) logs(workload ref.Val) ref.Val {
	if l.host == nil {
		return types.NewErr("no world to ask")
	}
	lines, err := l.host.Logs(string(workload.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.NewStringList(types.DefaultTypeAdapter, lines)
}

// share is a key's part of all counts; 0 where there are none.
func share(counts, key ref.Val) ref.Val {
	m, ok := counts.(interface{ total() int64 })
	if !ok {
		return types.NewErr("share: expected a map of counts, found %s", counts.Type().TypeName())
	}
	all := m.total()
	if all == 0 {
		return types.Double(0)
	}
	n, _ := counts.(countMap).Find(key)
	return types.Double(float64(n.(types.Int)) / float64(all))
}
