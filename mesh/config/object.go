// Package config turns YAML that people wrote into typed objects that know where
// they stand: every object, and every field of it, has a file, a line and a column.
//
// What comes in: bytes of a YAML stream. What goes out: Objects and Diagnostics.
// It imports nothing of ours.
package config

import (
	"fmt"
	"time"
)

// Object is one Kubernetes, Istio or Gateway API object.
//
// Value is a pointer to the typed object, whatever version it was written in:
// k8s.io/api's types for Kubernetes (*corev1.Service, *appsv1.Deployment, …),
// istio.io/client-go's v1 types for Istio (*networkingv1.VirtualService, …) and
// sigs.k8s.io/gateway-api's v1 types. Objects are not changed after they are made.
type Object struct {
	Kind      string // "VirtualService"
	Group     string // "networking.istio.io"; "" for core
	Version   string // as written
	Namespace string // "default" where a namespaced object has none; "" for cluster-scoped kinds
	Name      string
	Created   time.Time // orders objects; set by the store where the file has none
	Value     any
	// Raw is the document as written, for those who pass it on (reports, diffs).
	Raw []byte

	positions *positions
}

// Key identifies an object within a cluster.
type Key struct{ Group, Kind, Namespace, Name string }

// Key returns the object's identity.
func (o *Object) Key() Key { return Key{o.Group, o.Kind, o.Namespace, o.Name} }

// String is "VirtualService default/reviews".
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Position is a place in a file. Line and Col count from 1; 0 is unknown.
type Position struct {
	File string
	Line int
	Col  int
}

// String is "file:line:col", as compilers print it, without what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
}

// Severity of a Diagnostic.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
	Info
)

// String is the lower-case word.
func (s Severity) String() string { return [...]string{"error", "warning", "info"}[s] }

// Diagnostic is one finding about a configuration. Codes are listed in codes.go.
type Diagnostic struct {
	Severity Severity
	Code     string // "WT0101"
	Message  string // what is wrong, and what was expected
	Hint     string // what to write instead; may be empty
	Object   Key
	Path     string // of the field, as in Object.At; "" where there is none
	Position Position
	Excerpt  string // the line itself
}
