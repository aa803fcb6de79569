package bookinfo

import _ "embed"

// Manifest is the bookstore as Istio's samples deploy it: Services, accounts and
// Deployments, YAML.
//
//go:embed manifests/bookinfo.yaml
var Manifest []byte
