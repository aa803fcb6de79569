// Package client is the proxy's side of ADS: it keeps a stream to the control
// plane, subscribes to clusters and listeners and to all that they refer to, and
// hands over complete sets of resources.
//
// In: a gRPC connection and the proxy's node. Out: OnUpdate with a resource.Set.
// It must not import what makes resources nor what compiles them.
//
// What it was sent (the candidate) and what is in force are kept apart. A
// candidate is offered to OnUpdate as soon as everything that it refers to is
// there; only then is it acknowledged, so an ACK means "in force". When OnUpdate
// refuses, the responses since the last good set are answered with a NACK and the
// last good set stays. Envoy calls the waiting "warming".
package client
