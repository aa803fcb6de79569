// Package serve is the control plane's side of ADS: it sends every proxy the
// resources that a Generator makes for it, state-of-the-world or delta, and
// knows which proxy has what.
//
// In: a Generator per revision (Update) and the requests of the proxies. Out:
// responses, Status, Synced. It must not import the packages that make the
// resources, nor those that use them: both ends meet on package resource.
//
// One goroutine per stream decides and sends; a second one only receives into a
// mailbox. What is sent depends on the current generation and on the requests in
// the mailbox, in a fixed order, so equal histories give equal responses.
//
// The order is make-before-break, as the xDS protocol's documentation advises:
// clusters, endpoints, listeners, routes, secrets for what is new or changed;
// removals last, when the proxy has answered for everything else.
package serve
