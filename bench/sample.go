package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// loadMetrics are what a load sample has. The floors are the smallest changes that
// somebody would act on.
func loadMetrics() []result.Metric {
	return []result.Metric{
		{Name: "allocations-per-request", Unit: "1/req", Better: result.Lower, Floor: 2, Relative: 0.02, About: "objects that all proxies allocate for each request of the client; knows little of noise"},
		{Name: "context-switches-per-request", Unit: "1/req", About: "of all proxies"},
		{Name: "cpu-per-request", Unit: "s/req", Better: result.Lower, Floor: 0.5e-6, About: "processor time of all proxies for each request of the client"},
		{Name: "errors", Unit: "", Better: result.Lower, Floor: 0.001, About: "part of the calls that were not answered below 400"},
		{Name: "gc-pause", Unit: "s/s", About: "time in which the garbage collectors of all proxies held them up, for each second"},
		{Name: "goroutines", About: "of all proxies at the end"},
		{Name: "instructions-per-request", Unit: "1/req", Better: result.Lower, Floor: 500, Relative: 0.02, About: "that all proxies execute in user mode for each request of the client, where the processor counts them; knows little of noise"},
		{Name: "latency-p50", Unit: "s", Better: result.Lower, Floor: 20e-6, About: "from the intended start"},
		{Name: "latency-p90", Unit: "s", About: "from the intended start"},
		{Name: "latency-p99", Unit: "s", Better: result.Lower, Floor: 100e-6, About: "from the intended start"},
		{Name: "latency-p999", Unit: "s", About: "from the intended start"},
		{Name: "memory-private", Unit: "B", Better: result.Lower, Floor: 1 << 20, About: "heap and stacks of all proxies at the end"},
		{Name: "memory-resident", Unit: "B", About: "resident memory of all proxies at the end"},
		{Name: "rate", Unit: "req/s", About: "of a load with a rate"},
		{Name: "service-p50", Unit: "s", About: "from the send"},
		{Name: "service-p99", Unit: "s", About: "from the send"},
		{Name: "sockets", About: "connections of the client that carried a call"},
		{Name: "throughput", Unit: "req/s", Better: result.Higher, Floor: 50, About: "of a load that goes as fast as it can"},
	}
}

// sample starts a world of its own, loads it and takes it down. A load that was not
// served is a sample with a reason why it is no result; an error ends the benchmark.
func (p Plan) sample(ctx context.Context, b Build, c cell, measure func(context.Context, *rig) (result.Sample, error)) (result.Sample, error) {
	var found result.Sample
	err := p.open(ctx, b, c, p.Dir, func(r *rig) (err error) {
		found, err = measure(ctx, r)
		return err
	})
	return found, err
}

// open starts a world, has it used and takes it down. Folders of worlds that are up at
// one time differ.
func (p Plan) open(ctx context.Context, b Build, c cell, dir string, use func(*rig) error) error {
	p.Dir = dir
	s, err := source.Until(ctx, func() (*scene, error) { return p.scene(c) })
	if err != nil {
		return err
	}
	programs := &world.Programs{Meshproxy: b.meshproxy(), Dir: dir}
	w, err := (&world.Loopback{Programs: programs}).Open(ctx, s.scenario, 1)
	if err != nil {
		return err
	}
	r, err := p.rig(ctx, w, s, programs, c, b)
	if err == nil {
		err = use(r)
	}
	if r != nil && r.peer != nil {
		r.peer.stop()
	}
	return errors.Join(err, w.Close())
}

// rig is a world that is ready to be loaded.
type rig struct {
	cell     cell
	options  load.Options
	sidecars []proxy
	peer     *peer // in the sidecar's place; nil: none
}

// proxy is a process on the way of a request.
type proxy struct {
	workload, pod string
	pid           int
	admin         func(ctx context.Context, path string) ([]byte, error) // nil: it has no such port
}

func (p Plan) rig(ctx context.Context, w *world.World, s *scene, programs *world.Programs, c cell, b Build) (*rig, error) {
	if err := s.build(ctx, w); err != nil {
		return nil, err
	}
	r := &rig{cell: c, options: s.options, sidecars: sidecars(programs, s.from)}
	r.options.Seed = seed.New(1)
	var err error
	if r.options.Dial, err = w.Dialer(s.from); err != nil {
		return nil, err
	}
	if isPeer(c.proxies) {
		if r.peer, err = p.startPeer(ctx, c.proxies, b, r.options.Dial); err != nil {
			return nil, err
		}
		r.options.Dial = r.peer.dial
		r.sidecars = append(r.sidecars, proxy{workload: c.proxies, pod: c.proxies, pid: r.peer.pid()})
	}
	if p.Pin && len(r.sidecars) > 0 && runtime.NumCPU() > 1 {
		err = pinAll(r.sidecars)
	}
	return r, err
}

// measure warms up, loads, and reads before and after what the proxies have used.
func (p Plan) measure(ctx context.Context, r *rig) (result.Sample, error) {
	all, err := p.inTurn(ctx, []*rig{r}, 1)
	if err != nil {
		return result.Sample{}, err
	}
	return all[0], nil
}

// sidecars are the proxies on the way of a request: the gateway only where it comes
// from outside.
func sidecars(programs *world.Programs, from string) []proxy {
	var found []proxy
	for _, r := range programs.Running() {
		if r.Workload != gateway || from == "ingress" {
			found = append(found, proxy{r.Workload, r.Pod, r.PID, r.Admin})
		}
	}
	return found
}

// pinAll gives the proxies the first processor and this process the others.
func pinAll(sidecars []proxy) error {
	others := make([]int, runtime.NumCPU()-1)
	for i := range others {
		others[i] = i + 1
	}
	for _, s := range sidecars {
		if err := pin(s.pid, 0); err != nil {
			return err
		}
	}
	return pin(os.Getpid(), others...)
}

// readAll asks the operating system about every proxy, and with own the proxy about itself; one
// of a build that has no such page is not asked for more.
func readAll(ctx context.Context, sidecars []proxy, counters counters, own bool) ([]usage, error) {
	all := make([]usage, len(sidecars))
	for i, s := range sidecars {
		var err error
		if all[i], err = read(s.pid); err != nil {
			return nil, fmt.Errorf("the proxy of %s: %w", s.pod, err)
		}
		all[i].instructions = counters.read(i)
		if s.admin == nil || !own {
			continue
		}
		if page, err := s.admin(ctx, "/memory"); err == nil {
			if err := json.Unmarshal(page, &all[i].own); err != nil {
				return nil, fmt.Errorf("the proxy of %s: /memory: %w", s.pod, err)
			}
		}
	}
	return all, nil
}

// evaluate makes numbers of a load.
func evaluate(c cell, found *load.Result, sidecars []proxy, before, after []usage) (result.Sample, error) {
	calls := len(found.Records)
	took := lasted(found.Records)
	s := result.Sample{Seconds: took.Seconds(), Metrics: map[string]float64{}, PerSecond: perSecond(found.Records)}
	if calls == 0 {
		s.Invalid = "no call was made"
		return s, nil
	}
	failed := 0
	why := ""
	for _, r := range found.Records {
		if bad(r) {
			if failed++; why == "" {
				why = strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Status, r.GRPC, r.Error))
			}
		}
	}
	if 2*failed >= calls {
		s.Invalid = fmt.Sprintf("%d of %d calls failed, the first with %s", failed, calls, why)
	}
	m := s.Metrics
	for _, r := range found.Records {
		if r.Kind != "" {
			if s.ErrorKinds == nil {
				s.ErrorKinds = map[string]int{}
			}
			s.ErrorKinds[r.Kind]++
		}
	}
	m["sockets"] = float64(found.Sockets)
	m["errors"] = float64(failed) / float64(calls)
	m["throughput"] = float64(calls-failed) / took.Seconds()
	if c.rate.limited() {
		m["rate"] = m["throughput"]
		delete(m, "throughput")
	}
	latency, service := found.Latency(), found.Service()
	for name, q := range map[string]float64{"p50": 50, "p90": 90, "p99": 99, "p999": 99.9} {
		m["latency-"+name] = seconds(latency, q)
		if name == "p50" || name == "p99" {
			m["service-"+name] = seconds(service, q)
		}
	}
	costs(&s, calls, sidecars, before, after)
	var err error
	s.Fortio = found.Fortio()
	if s.Latency, err = encode(latency); err == nil {
		s.Service, err = encode(service)
	}
	return s, err
}

// bad tells whether a call was not answered as it should be.
func bad(r load.Record) bool {
	return r.Status == 0 || r.Status >= 400 || r.GRPC != "" && r.GRPC != "0"
}

// lasted is the time from the first call's intended start to the last one's end.
func lasted(records []load.Record) time.Duration {
	var d time.Duration
	for _, r := range records {
		d = max(d, r.Done.Sub(records[0].Intended))
	}
	return d
}

// costs are what the proxies used.
func costs(s *result.Sample, calls int, sidecars []proxy, before, after []usage) {
	if len(sidecars) == 0 {
		return
	}
	s.Proxies = map[string]map[string]float64{}
	m := s.Metrics
	for i, sidecar := range sidecars {
		used := (after[i].cpu - before[i].cpu).Seconds()
		s.Proxies[sidecar.workload] = map[string]float64{
			"cpu": used, "cpu-per-request": used / float64(calls), "memory-resident": float64(after[i].resident),
			"memory-private": float64(after[i].private), "context-switches": float64(after[i].switches - before[i].switches), "threads": float64(after[i].threads),
		}
		own, was := after[i].own, before[i].own
		if own.Allocations > 0 {
			of := s.Proxies[sidecar.workload]
			of["allocations"], of["goroutines"] = float64(own.Allocations-was.Allocations), float64(own.Goroutines)
			of["gc-cycles"], of["gc-pause"], of["heap"] = float64(own.Collections-was.Collections), own.PauseSeconds-was.PauseSeconds, float64(own.Allocated)
			m["allocations-per-request"] += of["allocations"] / float64(calls)
			m["goroutines"] += of["goroutines"]
			m["gc-pause"] += of["gc-pause"] / s.Seconds
		}
		if n := after[i].instructions - before[i].instructions; n > 0 {
			s.Proxies[sidecar.workload]["instructions"] = float64(n)
			m["instructions-per-request"] += float64(n) / float64(calls)
		}
		m["cpu-per-request"] += used / float64(calls)
		m["memory-resident"] += float64(after[i].resident)
		m["memory-private"] += float64(after[i].private)
		m["context-switches-per-request"] += float64(after[i].switches-before[i].switches) / float64(calls)
	}
}

func seconds(h *hdrhistogram.Histogram, q float64) float64 {
	return time.Duration(h.ValueAtPercentile(q)).Seconds()
}

func encode(h *hdrhistogram.Histogram) (string, error) {
	data, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return string(data), err
}

// perSecond is the load second by second, by when calls were meant to start.
func perSecond(records []load.Record) []result.Second {
	if len(records) == 0 {
		return nil
	}
	start := records[0].Intended
	var all []result.Second
	var histograms []*hdrhistogram.Histogram
	for _, r := range records {
		i := max(int(r.Intended.Sub(start)/time.Second), 0)
		for len(all) <= i {
			all = append(all, result.Second{})
			histograms = append(histograms, hdrhistogram.New(1, int64(time.Hour), 2))
		}
		all[i].Requests++
		if bad(r) {
			all[i].Errors++
		}
		_ = histograms[i].RecordValue(int64(min(max(r.Done.Sub(r.Intended), 1), time.Hour))) // cannot fail: in range
	}
	for i, h := range histograms {
		all[i].P50, all[i].P99 = seconds(h, 50), seconds(h, 99)
	}
	return all
}
