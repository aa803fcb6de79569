// Package spec has the scenario format: windtunnel.dev/v1. What comes in is a YAML
// stream, what goes out are Scenarios whose every step knows its file and line, or
// errors with file:line:col. It knows nothing of worlds and runs nothing.
package spec

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// The format's identity.
const (
	APIVersion = "windtunnel.dev/v1"
	Kind       = "Scenario"
)

// Position is a place in a file; Line and Col count from 1.
type Position struct {
	File string
	Line int
	Col  int
}

// String is "file:line:col".
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Scenario is one scenario, complete: its resources are read, its patterns expanded.
type Scenario struct {
	Name         string
	Labels       map[string]string
	Description  string
	Environments []string
	Seed         *uint64
	Timeout      time.Duration  // 0: the world's default
	Mesh         map[string]any // MeshConfig as written
	MeshPosition Position
	MeshSource   *MeshSource // of Mesh in the scenario's file; nil: it is from elsewhere
	Network      Network
	Behaviours   []Behaviour
	Resources    []Document // applied before the first step, in order
	Steps        []Step
	Position     Position
	Dir          string // of the file, for relative paths
}

// MeshSource is a mesh configuration as it stands in a scenario: its node, and the document
// around it, which begins at a line of the file.
type MeshSource struct {
	Node  *yaml.Node
	Line  int
	Lines []string
}

// Document is one YAML document that is not a scenario.
type Document struct {
	File string
	Line int // of its first line in File
	Text []byte
}

// Network has the properties of links (simulator only).
type Network struct {
	Latency time.Duration
	Jitter  time.Duration
	Loss    float64
	Links   []Link
}

// Link is the exception for one pair of workloads; empty means any.
type Link struct {
	From, To  string
	Latency   time.Duration
	Jitter    time.Duration
	Loss      float64
	Bandwidth int64 // bytes per second; 0 unlimited
}

// Behaviour is what an image, or a workload, does when it is called.
type Behaviour struct {
	Image    string // pattern with *
	Workload string
	HTTP     HTTPBehaviour
	GRPC     *GRPCBehaviour // in place of HTTP
	TLS      *ServerTLS     // nil: plain text
	Startup  time.Duration  // it listens so long after the container's start
	Exec     *ExecBehaviour // nil: commands succeed while it listens
	Position Position
}

// ExecBehaviour is what the commands of exec probes do.
type ExecBehaviour struct {
	ExitCode int
	After    time.Duration // they fail from so long after the container's start
	For      time.Duration // for so long; 0: for good
}

// GRPCBehaviour is a gRPC server's behaviour, over all methods.
type GRPCBehaviour struct {
	Status      int // a gRPC status code; 0 is the method's own answer
	Message     string
	Latency     Latency
	Errors      Errors // Status is gRPC's
	Concurrency int    // 0: no limit
}

// ServerTLS is what a server itself does. CA, Cert and Key are the contents of the files.
type ServerTLS struct {
	Cert, Key string
	CA        string // clients must show a certificate of it; empty: they need none
	Ports     []int  // empty: all
}

// HTTPBehaviour is an HTTP server's behaviour.
type HTTPBehaviour struct {
	Status      int
	Body        string
	Headers     map[string]string
	Latency     Latency
	Errors      Errors
	Concurrency int // 0: no limit
	Calls       []OutgoingCall
	Parallel    bool           // the calls are made at once
	StartCalls  []OutgoingCall // made once; where one fails every answer is a 503
}

// Latency is a distribution given by two of its percentiles.
type Latency struct{ P50, P99 time.Duration }

// Errors makes a share of the answers fail.
type Errors struct {
	Rate   float64
	Status int
	After  time.Duration // they begin so long after the container's start
	For    time.Duration // and last so long; 0: for good
	Path   string        // of the only URLs that they are for; "": all
}

// OutgoingCall is made while answering, or at the start.
type OutgoingCall struct {
	URL    string
	Method string
}

// Step is one step. At most one operation is set; none means expectations alone.
type Step struct {
	Name       string
	As         string
	Expect     []Expression
	Eventually time.Duration
	Position   Position

	Operation string // "request"; "" for expectations alone
	Explain   *Explain
	Apply     *Apply
	Delete    *Delete
	Request   *Request
	Load      *Load
	Finish    string
	Wait      time.Duration
	Scale     *Scale
	Fault     *Fault
	Query     string // PromQL
	Traces    *Traces
	Canary    *Canary
}

// Expression is a CEL expression with its place.
type Expression struct {
	Text     string
	Position Position
}

// Apply creates or changes objects.
type Apply struct{ Documents []Document }

// Delete removes objects, named directly or by the documents that made them.
type Delete struct {
	Documents []Document
	Refs      []Ref
}

// Ref names one object.
type Ref struct{ Kind, Namespace, Name string }

// Request sends some requests and waits for the answers.
type Request struct {
	From      string
	URL       string
	Method    string
	Headers   map[string]string
	Body      string
	BodyBytes int64
	KeepOpen  bool // of TCP: the body's end is not the connection's
	Count     int
	Parallel  int
	Interval  time.Duration
	Timeout   time.Duration // 0: the world's default, 30 s
	Protocol  string        // http1 (default), http2, grpc, tcp, websocket
	TLS       *TLS
}

// TLS is what the client itself does. CA, Cert and Key are the contents of the
// files that the scenario names, PEM.
type TLS struct {
	Mode               string // simple, mutual, insecure
	SNI, CA, Cert, Key string
}

// Scale sets a workload's replicas.
type Scale struct {
	Workload string
	Replicas int
}
