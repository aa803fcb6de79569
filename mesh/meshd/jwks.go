package meshd

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// How often keys are fetched again: PILOT_JWT_PUB_KEY_REFRESH_INTERVAL, and what istiod
// waits after a failure.
const (
	keysRefresh      = 20 * time.Minute
	keysRetry        = time.Minute
	keysTimeout      = 5 * time.Second // where a rule says nothing
	maxKeys          = 1 << 20
	discoveryAddress = "/.well-known/openid-configuration"
)

// keySource is where the keys of an issuer come from: an address, or the issuer's own
// discovery document where there is none.
type keySource struct{ uri, issuer string }

// keyring fetches the keys that token rules name by address. As istiod does, and not
// the proxies: they get the keys themselves.
type keyring struct {
	client *http.Client
	logger *slog.Logger

	mu    sync.Mutex
	known map[keySource]fetched
}

type fetched struct {
	keys string // "": the last fetch failed, and none before it succeeded
	ok   bool   // of the last fetch
}

func newKeyring(n netx.Network, logger *slog.Logger) *keyring {
	return &keyring{logger: logger, known: map[keySource]fetched{}, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dial(ctx, addr) }}}}
}

// Keys returns the keys of a source. Where they could not be fetched it is a set whose
// key nobody has, so that tokens are refused.
func (k *keyring) Keys(uri, issuer string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.known[keySource{uri, issuer}]; f.keys != "" {
		return f.keys
	}
	return noKeys(uri + issuer)
}

// noKeys is a key set that verifies nothing; its key tells a reader of the configuration why.
func noKeys(source string) string {
	n := base64.RawURLEncoding.EncodeToString([]byte("keys could not be fetched: " + source))
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"not-fetched","e":"AQAB","n":%q}]}`, n)
}

// sources are those that the rules of a view name, with their timeouts.
func sources(v *store.View) map[keySource]time.Duration {
	list := map[keySource]time.Duration{}
	for _, o := range v.Of("RequestAuthentication") {
		p, ok := o.Value.(*securityv1.RequestAuthentication)
		if !ok {
			continue
		}
		for _, r := range p.Spec.GetJwtRules() {
			s := keySource{uri: r.GetJwksUri()}
			if s.uri == "" {
				s.issuer = r.GetIssuer()
			}
			if r.GetJwks() == "" {
				list[s] = max(list[s], cmp.Or(r.GetTimeout().AsDuration(), keysTimeout))
			}
		}
	}
	return list
}

// fetch fetches those of a view that are not known, or all of them, and forgets the
// others. It tells whether keys changed, and whether all were fetched.
func (k *keyring) fetch(ctx context.Context, v *store.View, all bool) (changed, ok bool) {
	wanted := sources(v)
	next := map[keySource]fetched{}
	order := make([]keySource, 0, len(wanted))
	for s := range wanted {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b keySource) int { return cmp.Or(cmp.Compare(a.uri, b.uri), cmp.Compare(a.issuer, b.issuer)) })
	ok = true
	for _, s := range order {
		k.mu.Lock()
		f, known := k.known[s]
		k.mu.Unlock()
		if !known || all {
			keys, err := k.get(ctx, s, wanted[s])
			if err != nil {
				k.logger.Warn("keys of tokens are not fetched", "uri", s.uri, "issuer", s.issuer, "error", err)
			}
			if f.ok = err == nil; f.ok {
				changed = changed || keys != f.keys
				f.keys = keys
			}
		}
		ok = ok && f.ok
		next[s] = f
	}
	k.mu.Lock()
	k.known = next
	k.mu.Unlock()
	return changed, ok
}

// get fetches from one source within a timeout.
func (k *keyring) get(ctx context.Context, s keySource, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if s.uri == "" {
		document, err := k.read(ctx, strings.TrimSuffix(s.issuer, "/")+discoveryAddress)
		if err != nil {
			return "", err
		}
		var found struct {
			URI string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(document, &found); err != nil || found.URI == "" {
			return "", fmt.Errorf("the discovery document has no jwks_uri (%v)", err)
		}
		s.uri = found.URI
	}
	keys, err := k.read(ctx, s.uri)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(keys, new(jose.JSONWebKeySet)); err != nil {
		return "", fmt.Errorf("no JSON Web Key Set: %w", err)
	}
	return string(keys), nil
}

func (k *keyring) read(ctx context.Context, uri string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	p, err := k.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer p.Body.Close()
	if p.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", uri, p.Status)
	}
	return io.ReadAll(io.LimitReader(p.Body, maxKeys))
}
