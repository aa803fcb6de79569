package router

import (
	"fmt"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// headerOps are header changes with compiled values.
type headerOps struct {
	remove []string
	set    []headerOp
}

type headerOp struct {
	name, literal string
	format        *accesslog.Format // nil: literal
	action        snapshot.HeaderAction
}

// compileOps compiles changes from the most to the least specific, which is the
// order in which Envoy applies them by default.
func compileOps(list ...snapshot.HeaderOps) ([]headerOps, error) {
	var compiled []headerOps
	for _, ops := range list {
		if len(ops.Remove) == 0 && len(ops.Set) == 0 {
			continue
		}
		c := headerOps{}
		for _, name := range ops.Remove {
			c.remove = append(c.remove, strings.ToLower(name))
		}
		for _, op := range ops.Set {
			o := headerOp{name: strings.ToLower(op.Name), action: op.Action}
			f, err := accesslog.CompileFormat(op.Value)
			if err != nil {
				return nil, fmt.Errorf("header %s: %w", op.Name, err)
			}
			if literal, ok := f.Literal(); ok {
				o.literal = literal
			} else {
				o.format = f
			}
			c.set = append(c.set, o)
		}
		compiled = append(compiled, c)
	}
	return compiled, nil
}

func applyRequest(list []headerOps, r *message.Request) {
	for i := range list {
		for _, name := range list[i].remove {
			r.Header.Del(name)
		}
		for j := range list[i].set {
			op := &list[i].set[j]
			value := op.value(r, nil)
			switch op.name {
			case ":authority", "host":
				r.Authority = value
			case ":path":
				r.Path = value
			case ":method":
				r.Method = value
			default:
				op.apply(&r.Header, value)
			}
		}
	}
}

func applyResponse(list []headerOps, r *message.Request, p *message.Response) {
	for i := range list {
		for _, name := range list[i].remove {
			p.Header.Del(name)
		}
		for j := range list[i].set {
			op := &list[i].set[j]
			op.apply(&p.Header, op.value(r, p))
		}
	}
}

func (op *headerOp) value(r *message.Request, p *message.Response) string {
	if op.format == nil {
		return op.literal
	}
	x := accesslog.Of(r, p, time.Now())
	return string(op.format.AppendHeader(nil, x))
}

// apply changes one field. A value that came out empty changes nothing.
func (op *headerOp) apply(h *message.Header, value string) {
	if value == "" {
		return
	}
	switch op.action {
	case snapshot.AppendOrAdd:
		h.Add(op.name, value)
	case snapshot.AddIfAbsent:
		if !h.Has(op.name) {
			h.Add(op.name, value)
		}
	case snapshot.OverwriteOrAdd:
		h.Set(op.name, value)
	case snapshot.OverwriteIfExists:
		if h.Has(op.name) {
			h.Set(op.name, value)
		}
	}
}
