package images

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	ratelimitcommonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitpb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// rateLimitService is envoyproxy/ratelimit: gRPC at 8081, its health at 8080. It counts
// by itself, where the real one has Redis do that.
func rateLimitService(string) Image {
	return Image{Ports: []int{8080, 8081}, Handler: rateLimitHealth, Servers: map[int]func(Container) (Server, error){8081: newRateLimiter}}
}

func rateLimitHealth(Container) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthcheck", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") })
	return mux, nil
}

// calledServer is a gRPC server as a Server.
type calledServer struct{ *grpc.Server }

// Serve implements Server.
func (s calledServer) Serve(l net.Listener) error { return s.Server.Serve(l) }

// Close implements Server.
func (s calledServer) Close() error {
	s.Stop()
	return nil
}

// limitTree are the descriptors of one level, by "key_value", or "key" for any value.
type limitTree map[string]*limitNode

type limitNode struct {
	rate     *limitRate
	shadow   bool
	wildcard string // of a value that ends with *: what stands before it
	below    limitTree
}

type limitRate struct {
	Unit            string `yaml:"unit"`
	RequestsPerUnit uint32 `yaml:"requests_per_unit"`
	Unlimited       bool   `yaml:"unlimited"`
}

// limitConfig is a file of the service.
type limitConfig struct {
	Domain      string            `yaml:"domain"`
	Descriptors []limitDescriptor `yaml:"descriptors"`
}

type limitDescriptor struct {
	Key         string            `yaml:"key"`
	Value       string            `yaml:"value"`
	RateLimit   *limitRate        `yaml:"rate_limit"`
	ShadowMode  bool              `yaml:"shadow_mode"`
	Descriptors []limitDescriptor `yaml:"descriptors"`
}

// limitUnits are the seconds of each unit, as the service has them.
var limitUnits = map[string]int64{"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}

// rateLimiter counts requests in windows that begin with the unit.
type rateLimiter struct {
	ratelimitpb.UnimplementedRateLimitServiceServer
	domains map[string]limitTree

	mu     sync.Mutex
	counts map[string]uint32
	until  map[string]int64 // when a window ends, in Unix seconds
}

// newRateLimiter reads the configuration where the environment says: all YAML files
// in RUNTIME_ROOT/RUNTIME_SUBDIRECTORY/config.
func newRateLimiter(c Container) (Server, error) {
	l := &rateLimiter{domains: map[string]limitTree{}, counts: map[string]uint32{}, until: map[string]int64{}}
	folder := path.Join(cmp.Or(c.Env["RUNTIME_ROOT"], "/srv/runtime_data/current"), c.Env["RUNTIME_SUBDIRECTORY"], cmp.Or(c.Env["RUNTIME_APPDIRECTORY"], "config"))
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		if path.Dir(name) != folder || !strings.HasSuffix(name, ".yaml") {
			continue
		}
		if err := l.read(c.Files[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(l.domains) == 0 {
		return nil, fmt.Errorf("there is no configuration in %s: mount a ConfigMap there", folder)
	}
	s := grpc.NewServer()
	ratelimitpb.RegisterRateLimitServiceServer(s, l)
	return calledServer{s}, nil
}

func (l *rateLimiter) read(text []byte) error {
	var c limitConfig
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return err
	}
	if c.Domain == "" {
		return errors.New("domain is missing")
	}
	if l.domains[c.Domain] != nil {
		return fmt.Errorf("domain %q is there twice", c.Domain)
	}
	tree, err := newLimitTree(c.Descriptors)
	l.domains[c.Domain] = tree
	return err
}

func newLimitTree(list []limitDescriptor) (limitTree, error) {
	tree := limitTree{}
	for _, d := range list {
		name := d.Key
		if d.Value != "" {
			name += "_" + d.Value
		}
		if r := d.RateLimit; r != nil && !r.Unlimited {
			if r.Unit = strings.ToLower(r.Unit); limitUnits[r.Unit] == 0 {
				return nil, fmt.Errorf("%s: %q is no unit", name, r.Unit)
			}
		}
		if d.Key == "" || tree[name] != nil {
			return nil, fmt.Errorf("descriptor %q has no key, or is there twice", name)
		}
		below, err := newLimitTree(d.Descriptors)
		if err != nil {
			return nil, err
		}
		n := &limitNode{rate: d.RateLimit, shadow: d.ShadowMode, below: below}
		if star, ok := strings.CutSuffix(name, "*"); ok && d.Value != "" {
			n.wildcard = star
		}
		tree[name] = n
	}
	return tree, nil
}

// find returns the limit of a descriptor: the one at its very depth. The exact value
// goes before one with a wildcard, and that before the key alone.
func (t limitTree) find(entries []*ratelimitcommonpb.RateLimitDescriptor_Entry) *limitNode {
	for i, e := range entries {
		full := e.GetKey() + "_" + e.GetValue()
		n := t[full]
		for _, name := range slices.Sorted(maps.Keys(t)) {
			if w := t[name].wildcard; n == nil && w != "" && strings.HasPrefix(full, w) {
				n = t[name]
			}
		}
		if n == nil {
			n = t[e.GetKey()]
		}
		if n == nil {
			return nil
		}
		if i == len(entries)-1 {
			return n
		}
		t = n.below
	}
	return nil
}

// ShouldRateLimit implements the service.
func (l *rateLimiter) ShouldRateLimit(_ context.Context, q *ratelimitpb.RateLimitRequest) (*ratelimitpb.RateLimitResponse, error) {
	now := time.Now().Unix()
	answer := &ratelimitpb.RateLimitResponse{OverallCode: ratelimitpb.RateLimitResponse_OK}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.counts, func(k string, _ uint32) bool { return l.until[k] <= now })
	maps.DeleteFunc(l.until, func(_ string, end int64) bool { return end <= now })
	for _, d := range q.GetDescriptors() {
		status := &ratelimitpb.RateLimitResponse_DescriptorStatus{Code: ratelimitpb.RateLimitResponse_OK}
		answer.Statuses = append(answer.Statuses, status)
		n := l.domains[q.GetDomain()].find(d.GetEntries())
		if n == nil || n.rate == nil || n.rate.Unlimited {
			continue
		}
		key := q.GetDomain()
		for _, e := range d.GetEntries() {
			key += "_" + e.GetKey() + "_" + e.GetValue()
		}
		unit := limitUnits[n.rate.Unit]
		end := now - now%unit + unit
		l.counts[key] += max(q.GetHitsAddend(), 1)
		l.until[key] = end
		status.CurrentLimit = &ratelimitpb.RateLimitResponse_RateLimit{RequestsPerUnit: n.rate.RequestsPerUnit,
			Unit: ratelimitpb.RateLimitResponse_RateLimit_Unit(ratelimitpb.RateLimitResponse_RateLimit_Unit_value[strings.ToUpper(n.rate.Unit)])}
		status.DurationUntilReset = durationpb.New(time.Duration(end-now) * time.Second)
		if count := l.counts[key]; count <= n.rate.RequestsPerUnit {
			status.LimitRemaining = n.rate.RequestsPerUnit - count
		} else if !n.shadow {
			status.Code, answer.OverallCode = ratelimitpb.RateLimitResponse_OVER_LIMIT, ratelimitpb.RateLimitResponse_OVER_LIMIT
		}
	}
	return answer, nil
}
