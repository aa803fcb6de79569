package expect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Values are what an expression reads.
type Values struct {
	Scope  spec.Scope
	Result Result            // of the step; nil where it has none
	Kept   map[string]Result // by name
}

// Outcome is an expression's. Err is set where it has no value (an unknown
// workload in endpoint(), a division by zero); Message explains what did not hold.
type Outcome struct {
	Holds   bool
	Err     error
	Message string
}

// Evaluate evaluates an expression.
func (l *Language) Evaluate(e spec.Expression, v Values) Outcome {
	env, ast, problems := l.compile(e, v.Scope)
	if ast == nil {
		return failure(errors.New(problems[0].Message))
	}
	l.current, _ = v.Result.(*Traffic)
	variables := map[string]any{}
	if v.Result != nil {
		for name, value := range v.Result.value().fields {
			variables[name] = value
		}
	}
	for name, r := range v.Kept {
		if variables[name] == nil {
			variables[name] = r.value()
		}
	}
	program, err := env.Program(ast)
	if err != nil {
		return failure(err)
	}
	got, _, err := program.Eval(variables)
	switch {
	case err != nil:
		return failure(fmt.Errorf("%s: %w", e.Text, err))
	case got == types.True:
		return Outcome{Holds: true}
	case got != types.False:
		return failure(fmt.Errorf("%s is %s, expected true or false", e.Text, show(got)))
	}
	return Outcome{Message: values(env, ast, e.Text, variables)}
}

func failure(err error) Outcome { return Outcome{Err: err, Message: err.Error()} }

// values is the expression followed by what its parts are, outermost first.
func values(env *cel.Env, ast *cel.Ast, text string, variables map[string]any) string {
	parts := []string{strings.Join(strings.Fields(text), " ")}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptExhaustiveEval))
	if err != nil {
		return parts[0]
	}
	_, details, err := program.Eval(variables)
	if err != nil && details == nil {
		return parts[0]
	}
	native := ast.NativeRep()
	seen := map[string]bool{}
	walk(native.Expr(), false, func(e celast.Expr) {
		value := valueOf(e, details, variables)
		if value == nil || types.IsUnknownOrError(value) {
			return
		}
		if _, whole := value.(*object); whole {
			return
		}
		name, err := cel.ExprToString(e, native.SourceInfo())
		if err != nil || seen[name] {
			return
		}
		seen[name] = true
		parts = append(parts, name+" is "+show(value))
	})
	return strings.Join(parts, ", ")
}

// valueOf is a part's value, nil where it has none. CEL resolves a chain like
// baseline.status["503"] in one go and keeps only its end, so the rest is looked up.
func valueOf(e celast.Expr, details *cel.EvalDetails, variables map[string]any) ref.Val {
	if v, ok := details.State().Value(e.ID()); ok {
		return v
	}
	switch e.Kind() {
	case celast.IdentKind:
		v, _ := variables[e.AsIdent()].(ref.Val)
		return v
	case celast.SelectKind:
		if o, ok := valueOf(e.AsSelect().Operand(), details, variables).(*object); ok {
			return o.fields[e.AsSelect().FieldName()]
		}
	}
	return nil
}

// walk visits the parts of an expression that are worth showing. Comparisons are
// shown where they stand under && and ||; literals, and what is made of literals
// alone, are not; the inside of a macro has no single value.
func walk(e celast.Expr, shown bool, visit func(celast.Expr)) {
	switch e.Kind() {
	case celast.IdentKind:
		visit(e)
	case celast.SelectKind:
		visit(e)
		walk(e.AsSelect().Operand(), true, visit)
	case celast.ComprehensionKind:
		if shown {
			visit(e)
		}
		walk(e.AsComprehension().IterRange(), true, visit)
	case celast.ListKind:
		for _, el := range e.AsList().Elements() {
			walk(el, true, visit)
		}
	case celast.CallKind:
		c := e.AsCall()
		if shown && !constant(e) && c.FunctionName() != operators.LogicalNot {
			visit(e)
		}
		if c.IsMemberFunction() {
			walk(c.Target(), true, visit)
		}
		for _, a := range c.Args() {
			walk(a, true, visit)
		}
	}
}

// constant tells whether an expression has no names and asks no world.
func constant(e celast.Expr) bool {
	none := true
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		none = none && e.Kind() != celast.IdentKind && (e.Kind() != celast.CallKind ||
			e.AsCall().FunctionName() != "endpoint" && e.AsCall().FunctionName() != "ok")
	}))
	return none
}

// longest is how much of a value a message shows, in bytes.
const longest = 300

// show writes a value as it would stand in an expression.
func show(v ref.Val) string {
	switch v := v.(type) {
	case countMap:
		var entries []string
		for _, k := range slices.Sorted(maps.Keys(v.counts)) {
			entries = append(entries, fmt.Sprintf("%q: %d", k, v.counts[k]))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	case *object:
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(v.fields)) {
			fields = append(fields, name+": "+show(v.fields[name]))
		}
		return cut("{" + strings.Join(fields, ", ") + "}")
	case types.Duration:
		return v.Duration.String()
	case types.String:
		return cut(strconv.Quote(string(v)))
	case types.Double:
		return strconv.FormatFloat(float64(v), 'g', 6, 64)
	case traits.Mapper:
		var entries []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			entries = append(entries, show(k)+": "+show(v.Get(k)))
		}
		slices.Sort(entries)
		return cut("{" + strings.Join(entries, ", ") + "}")
	case traits.Lister:
		var entries []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			entries = append(entries, show(it.Next()))
		}
		return cut("[" + strings.Join(entries, ", ") + "]")
	}
	return cut(fmt.Sprint(v.Value()))
}

func cut(s string) string {
	if len(s) <= longest {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:longest], len(s))
}
