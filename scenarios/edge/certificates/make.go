//go:build ignore

// Makes the certificates of the edge scenarios' clients and gateways, and the Secrets
// that hold them: go run make.go issue.go, in this folder.
package main

import "os"

func main() {
	ca, others := issue("Example CA", nil), issue("Another CA", nil)
	bookinfo := issue("bookinfo", ca, "bookinfo.example.com")
	shop := issue("shop", ca, "shop.example.com")
	partner := issue("partner", ca, "partner.example.com")
	client, stranger := issue("client", ca, "client.example.com"), issue("stranger", others, "stranger.example.com")
	for name, data := range map[string][]byte{
		"ca.pem": ca.pem, "other-ca.pem": others.pem, "client.pem": client.pem, "client-key.pem": client.keyPEM,
		"stranger.pem": stranger.pem, "stranger-key.pem": stranger.keyPEM,
	} {
		check(os.WriteFile(name, data, 0o644))
	}
	secrets := "# Made by make.go.\n" +
		secret("istio-system", "bookinfo-credential", "kubernetes.io/tls", "tls.crt", bookinfo.pem, "tls.key", bookinfo.keyPEM) +
		secret("istio-system", "shop-credential", "Opaque", "cert", shop.pem, "key", shop.keyPEM, "cacert", ca.pem) +
		secret("istio-system", "partner-credential", "kubernetes.io/tls", "tls.crt", partner.pem, "tls.key", partner.keyPEM) +
		secret("istio-system", "partner-credential-cacert", "Opaque", "cacert", ca.pem)
	check(os.WriteFile("secrets.yaml", []byte(secrets), 0o644))
}
