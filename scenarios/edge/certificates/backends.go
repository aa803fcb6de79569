//go:build ignore

// Makes the certificates of servers behind the edge that end TLS themselves, and of a
// client that they know: go run backends.go issue.go, in this folder.
package main

import "os"

func main() {
	ca := issue("Backend CA", nil)
	server := issue("backend", ca, "secure.example.com", "orders.example.com", "*.wiki.example.org")
	client := issue("backend-client", ca, "client.example.com")
	for name, data := range map[string][]byte{
		"backend-ca.pem": ca.pem, "backend.pem": server.pem, "backend-key.pem": server.keyPEM,
	} {
		check(os.WriteFile(name, data, 0o644))
	}
	secrets := "# Made by backends.go.\n"
	for _, namespace := range []string{"istio-system", "default"} {
		secrets += secret(namespace, "backend-client", "kubernetes.io/tls", "tls.crt", client.pem, "tls.key", client.keyPEM, "ca.crt", ca.pem)
	}
	check(os.WriteFile("backends.yaml", []byte(secrets), 0o644))
}
