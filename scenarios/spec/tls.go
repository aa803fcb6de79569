package spec

import (
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tlsFormat is a client's own TLS.
func tlsFormat() object[TLS] {
	return object[TLS]{what: "a client's tls", fields: []field[TLS]{
		at("mode", "simple: the server's certificate must be of the ca; mutual: and the client shows its own; insecure: any certificate will do. Default: simple, mutual with a cert.",
			enum("simple", "mutual", "insecure"), func(t *TLS) *string { return &t.Mode }),
		at("sni", "The server name to ask for. Default: the URL's host.", text(), func(t *TLS) *string { return &t.SNI }),
		at("ca", "A file of PEM certificates, relative to the scenario: whom the server's certificate must be of.", pemFile(), func(t *TLS) *string { return &t.CA }),
		at("cert", "A file with the client's certificate.", pemFile(), func(t *TLS) *string { return &t.Cert }),
		at("key", "A file with its key.", pemFile(), func(t *TLS) *string { return &t.Key }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, t *TLS) {
		if (keys["cert"] == nil) != (keys["key"] == nil) {
			d.problem(n, "a client's certificate needs both cert and key")
		}
		if keys["mode"] == nil {
			t.Mode = "simple"
			if keys["cert"] != nil {
				t.Mode = "mutual"
			}
		}
		switch {
		case t.Mode == "mutual" && keys["cert"] == nil:
			d.problem(n, "mode mutual needs cert and key")
		case t.Mode == "simple" && keys["cert"] != nil:
			d.problem(keys["cert"], "mode simple shows no certificate: make it mutual")
		case t.Mode == "insecure" && keys["ca"] != nil:
			d.problem(keys["ca"], "mode insecure takes any certificate: leave out the ca, or the mode")
		case (t.Mode == "simple" || t.Mode == "mutual") && keys["ca"] == nil:
			d.problem(n, "tls needs a ca to check the server's certificate with, or `mode: insecure`")
		}
	}}
}

// serverTLSFormat is a server's own TLS.
func serverTLSFormat() object[ServerTLS] {
	return object[ServerTLS]{what: "a server's tls", fields: []field[ServerTLS]{
		need(at("cert", "A file with the server's certificate, relative to the scenario.", pemFile(), func(t *ServerTLS) *string { return &t.Cert })),
		need(at("key", "A file with its key.", pemFile(), func(t *ServerTLS) *string { return &t.Key })),
		at("ca", "A file of PEM certificates: clients must show one that is of them.", pemFile(), func(t *ServerTLS) *string { return &t.CA }),
		at("ports", "The container's ports that speak TLS. Default: all.", list(whole[int](1, 65535)), func(t *ServerTLS) *[]int { return &t.Ports }),
	}}
}

// tlsRules holds a step's URL and its tls together.
func tlsRules(d *decoder, n, key *yaml.Node, url string, t *TLS) {
	secure := secured(url)
	switch {
	case t != nil && url != "" && !secure:
		d.problem(key, "tls needs an https:// URL")
	case t == nil && secure:
		d.problem(n, "an https:// URL needs tls: {ca: FILE} to check the server's certificate with, or tls: {mode: insecure}")
	}
}

// pemFile is the content of a file that is named relative to the scenario.
func pemFile() kind[string] {
	return kind[string]{
		schema: func() schema { return schema{"type": "string"} },
		decode: func(d *decoder, n *yaml.Node, v *string) {
			name, ok := d.scalar(n, "a PEM file")
			if !ok {
				return
			}
			path := name
			if !filepath.IsAbs(path) {
				path = filepath.Join(d.dir, path)
			}
			data, err := os.ReadFile(path)
			switch {
			case err != nil:
				d.problem(n, "%s cannot be read: %s", name, reason(err))
			case !strings.Contains(string(data), "-----BEGIN "):
				d.problem(n, "%s is not PEM", name)
			default:
				*v = string(data)
			}
		},
	}
}
