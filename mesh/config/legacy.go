package config

import "google.golang.org/protobuf/reflect/protoreflect"

// legacyKey is a field of a message as people write it.
type legacyKey struct {
	message protoreflect.FullName
	name    string
}

// legacyField translates an old spelling into its successor within the JSON of the
// message, so that whoever reads the object needs to know the successor only.
type legacyField func(d *document, p pair, m map[string]any, path string)

const networking = "istio.networking.v1alpha3."

// legacyFields are the fields that Istio has deprecated or removed and that the
// documents people have still use. A successor that is written as well wins.
var legacyFields = map[legacyKey]legacyField{
	{networking + "HTTPFaultInjection.Delay", "percent"}:                        legacyPercent("percentage"),
	{networking + "HTTPFaultInjection.Abort", "percent"}:                        legacyPercent("percentage"),
	{networking + "HTTPRoute", "mirrorPercent"}:                                 legacyPercent("mirrorPercentage"),
	{networking + "HTTPRoute", "mirror_percent"}:                                legacyPercent("mirrorPercentage"),
	{networking + "CorsPolicy", "allowOrigin"}:                                  legacyOrigins,
	{networking + "CorsPolicy", "allow_origin"}:                                 legacyOrigins,
	{networking + "OutlierDetection", "consecutiveErrors"}:                      legacyErrors,
	{networking + "OutlierDetection", "consecutive_errors"}:                     legacyErrors,
	{networking + "LoadBalancerSettings", "warmupDurationSecs"}:                 legacyWarmup,
	{networking + "LoadBalancerSettings", "warmup_duration_secs"}:               legacyWarmup,
	{networking + "LoadBalancerSettings.ConsistentHashLB", "minimumRingSize"}:   legacyRing,
	{networking + "LoadBalancerSettings.ConsistentHashLB", "minimum_ring_size"}: legacyRing,
}

// legacyValues are the enum values that have successors. Since Istio 1.14 LEAST_CONN
// is a synonym.
var legacyValues = map[protoreflect.FullName]string{
	networking + "LoadBalancerSettings.LEAST_CONN": "LEAST_REQUEST",
}

func (d *document) outOfUse(p pair, path, successor string) {
	d.report(Warning, CodeDeprecatedField, p.key, "write "+successor, "%s is deprecated", join(path, p.name))
}

// succeed sets the successor unless it is written itself.
func succeed(m map[string]any, name string, value any) {
	if _, ok := m[name]; ok {
		return
	}
	m[name] = value
}

// legacyPercent translates a whole number of per cent into a Percent message.
func legacyPercent(successor string) legacyField {
	return func(d *document, p pair, m map[string]any, path string) {
		at := join(path, p.name)
		v, ok := d.integerIn(p, at, 0, 100)
		if !ok {
			return
		}
		d.outOfUse(p, path, successor+": {value: "+p.value.Value+"}")
		d.inherit(join(path, successor), at, "value")
		succeed(m, successor, map[string]any{"value": v})
	}
}

// legacyOrigins translates origins that must be equal. "*" stays what it was: any.
func legacyOrigins(d *document, p pair, m map[string]any, path string) {
	at := join(path, p.name)
	n := d.enter(p.value, at)
	if n == nil {
		return
	}
	defer d.leave()
	v, ok := d.list(n, at, d.textItem)
	if !ok {
		return
	}
	origins := make([]any, 0)
	example := "…"
	for i, o := range v.([]any) {
		if i == 0 {
			example = o.(string)
		}
		origins = append(origins, map[string]any{"exact": o})
	}
	d.outOfUse(p, path, `allowOrigins: [{exact: "`+example+`"}]`)
	d.inherit(join(path, "allowOrigins"), at, "")
	succeed(m, "allowOrigins", origins)
}

// legacyErrors translates consecutiveErrors, which counted 502, 503 and 504 answers
// over HTTP and failures to connect over TCP: gateway errors, and no other 5xx.
func legacyErrors(d *document, p pair, m map[string]any, path string) {
	at := join(path, p.name)
	v, ok := d.integerIn(p, at, 0, 1<<31-1)
	if !ok {
		return
	}
	d.outOfUse(p, path, "consecutiveGatewayErrors: "+p.value.Value+" (and consecutive5xxErrors: 0), or consecutive5xxErrors: "+p.value.Value+" to count every 5xx")
	d.inherit(join(path, "consecutiveGatewayErrors"), at, "")
	_, gateway := m["consecutiveGatewayErrors"]
	_, all := m["consecutive5xxErrors"]
	if gateway || all {
		return
	}
	m["consecutiveGatewayErrors"], m["consecutive5xxErrors"] = v, 0
}

func legacyWarmup(d *document, p pair, m map[string]any, path string) {
	at := join(path, p.name)
	n := d.enter(p.value, at)
	if n == nil {
		return
	}
	defer d.leave()
	v, ok := d.duration(n, at)
	if !ok {
		return
	}
	d.outOfUse(p, path, "warmup: {duration: "+n.Value+"}")
	d.inherit(join(path, "warmup"), at, "duration")
	succeed(m, "warmup", map[string]any{"duration": seconds(v)})
}

func legacyRing(d *document, p pair, m map[string]any, path string) {
	at := join(path, p.name)
	v, ok := d.integerIn(p, at, 0, 1<<62)
	if !ok {
		return
	}
	d.outOfUse(p, path, "ringHash: {minimumRingSize: "+p.value.Value+"}")
	if _, maglev := m["maglev"]; maglev {
		return
	}
	d.inherit(join(path, "ringHash"), at, "minimumRingSize")
	succeed(m, "ringHash", map[string]any{"minimumRingSize": v})
}

// inherit gives a successor, and a field within it, the old spelling's place, unless
// it has one of its own.
func (d *document) inherit(successor, old, within string) {
	if _, ok := d.at[successor]; ok {
		return
	}
	d.at[successor] = d.at[old]
	if within != "" {
		d.at[join(successor, within)] = d.at[old]
	}
	for i := 0; ; i++ {
		place, ok := d.at[index(old, i)]
		if !ok {
			return
		}
		d.at[index(successor, i)] = place
	}
}
