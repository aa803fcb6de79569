package spec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// everything makes a folder of testdata/all and returns it with the scenario's text.
// The files have another ending there, so that nobody runs them as scenarios.
func everything(t testing.TB) (dir string, text []byte) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), "-----BEGIN CERTIFICATE-----\n")
	for _, name := range []string{"objects/a.yaml", "objects/b.yaml", "every-key.yaml"} {
		var err error
		if text, err = os.ReadFile(filepath.Join("testdata/all", name+".txt")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	return dir, text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func everyKey(t *testing.T) (*Scenario, string) {
	t.Helper()
	dir, text := everything(t)
	scenarios, problems := Read([]string{dir}, Options{})
	for _, p := range problems {
		t.Errorf("unexpected: %s", p.Detail())
	}
	if len(scenarios) != 1 {
		t.Fatalf("read %d scenarios, want 1: resource files are none", len(scenarios))
	}
	return scenarios[0], string(text)
}

func TestEveryKeyIsRead(t *testing.T) {
	s, _ := everyKey(t)
	if s.Name != "every-key" || s.Labels["build"] != "007" || *s.Seed != 7 || s.Timeout != 10*time.Minute || s.Mesh["accessLogFile"] != "/dev/stdout" {
		t.Errorf("wrong head: %+v", s)
	}
	want := Network{Latency: 200 * time.Microsecond, Links: []Link{{From: "a", To: "ns/b", Latency: time.Millisecond,
		Jitter: time.Microsecond, Loss: 0.5, Bandwidth: 1000},
		{To: "c", Latency: 200 * time.Microsecond, Jitter: 2 * time.Microsecond}}}
	if d := cmp.Diff(want, s.Network); d != "" {
		t.Error(d)
	}
	b := s.Behaviours[0].HTTP
	if b.Status != 200 || b.Headers["x-a"] != "1" || b.Latency.P99 != 40*time.Millisecond || b.Errors.Rate != 0.1 || b.Concurrency != 8 || len(b.Calls) != 1 {
		t.Errorf("wrong behaviour: %+v", b)
	}
	r := s.Steps[4].Request
	if r.URL != "http://httpbin:8000/a//../b?q" || r.Count != 3 || r.Parallel != 2 || r.Interval != 10*time.Millisecond || r.Timeout != time.Second {
		t.Errorf("wrong request: %+v", r)
	}
	if r := s.Steps[5].Request; r.Count != 1 || r.Parallel != 1 || r.Method != "POST" || r.Protocol != "http1" {
		t.Errorf("wrong defaults: %+v", r)
	}
	if d := cmp.Diff([]Ref{{"Service", "default", "first"}}, s.Steps[2].Delete.Refs); d != "" || len(s.Steps[2].Delete.Documents) != 2 {
		t.Errorf("wrong delete: %s", d)
	}
}

// A diagnostic in an object must point at the scenario file's own line and column.
func TestObjectsKeepTheirPlaces(t *testing.T) {
	s, data := everyKey(t)
	lines := strings.Split(data, "\n")
	var names []string
	docs := slices.Concat(s.Resources, s.Steps[0].Apply.Documents, s.Steps[1].Apply.Documents)
	for _, d := range docs {
		var n yaml.Node
		if err := yaml.Unmarshal(d.Text, &n); err != nil {
			t.Fatalf("%s:%d: %v\n%s", d.File, d.Line, err, d.Text)
		}
		name, at := find0(n.Content[0])
		names = append(names, name)
		if filepath.Base(d.File) == "every-key.yaml" {
			line := lines[d.Line+at.Line-2]
			if !strings.HasPrefix(strings.Trim(line[at.Column-1:], `"`), name) {
				t.Errorf("%s: line %d column %d is %q", name, d.Line+at.Line-1, at.Column, line)
			}
		}
	}
	want := []string{"a", "a2", "b", "of-the-stream", "first", "second", "inline", "flow}", "a", "a2"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
}

// find0 is metadata.name and where it stands.
func find0(n *yaml.Node) (string, *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "metadata":
			return find0(n.Content[i+1])
		case "name":
			return n.Content[i+1].Value, n.Content[i+1]
		}
	}
	return "", n
}

func TestExpressionsKnowTheirPlace(t *testing.T) {
	var got []Position
	dir, data := everything(t)
	_, problems := Read([]string{dir}, Options{Check: func(e Expression, s Scope) []Problem {
		got = append(got, e.Position)
		if e.Text == "count == 3" && (s.Operation != "request" || s.Kept["sent"] != "") {
			t.Errorf("wrong scope %+v", s)
		}
		return nil
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var starts []string
	for _, p := range got {
		starts = append(starts, strings.Split(string(data), "\n")[p.Line-1][p.Col-1:][:5])
	}
	if d := cmp.Diff([]string{"objec", "count", "statu", "error"}, starts); d != "" {
		t.Error(d)
	}
}

// keyPaths lists the property paths of a schema; keys whose names are free end a path.
func keyPaths(s map[string]any, path string, to map[string]bool) {
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		to[path+"."+name] = true
		keyPaths(p.(map[string]any), path+"."+name, to)
	}
	if items, ok := s["items"].(map[string]any); ok {
		keyPaths(items, path, to)
	}
	for _, of := range []string{"anyOf", "oneOf"} {
		ways, _ := s[of].([]any)
		for _, w := range ways {
			keyPaths(w.(map[string]any), path, to)
		}
	}
}

// yamlPaths lists the key paths of a document, as far as the schema knows their parents.
func yamlPaths(n *yaml.Node, path string, known, to map[string]bool) {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			yamlPaths(c, path, known, to)
		}
		return
	}
	closed := path == ""
	for k := range known {
		closed = closed || strings.HasPrefix(k, path+".")
	}
	if n.Kind != yaml.MappingNode || !closed {
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		p := path + "." + n.Content[i].Value
		to[p] = true
		yamlPaths(n.Content[i+1], p, known, to)
	}
}

func TestSchemaHasTheDecodersKeys(t *testing.T) {
	out, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	inSchema, inFile := map[string]bool{}, map[string]bool{}
	keyPaths(s, "", inSchema)
	_, data := everything(t)
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	yamlPaths(doc.Content[0], "", inSchema, inFile)
	// Both ways: the file is read without a problem (TestEveryKeyIsRead), so its keys
	// are the decoder's; a key that only the schema has is missing in the file.
	if d := cmp.Diff(inSchema, inFile); d != "" {
		t.Errorf("schema (-) and decoder (+) differ:\n%s", d)
	}
	if strings.Contains(string(out), `"description": ""`) {
		t.Error("a key has no description")
	}
}

const head = `apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: a}
spec:
`

func TestProblems(t *testing.T) {
	step := func(s string) string { return head + "  steps:\n  - " + s + "\n" }
	const url = `url: "http://b/"`
	for name, tc := range map[string]struct{ text, want string }{
		"not yaml":             {head + "  steps: [\n", "not YAML"},
		"no scenario":          {"apiVersion: v1\nkind: Service\n", "f.yaml:1:1: no scenario here"},
		"version":              {strings.Replace(head, "v1", "v2", 1) + "  steps: [wait: 1s]\n", `f.yaml:1:13: expected one of windtunnel.dev/v1, found "windtunnel.dev/v2" (did you mean windtunnel.dev/v1?)`},
		"unknown field":        {head + "  stepz: []\n  steps: [wait: 1s]\n", `f.yaml:5:3: unknown field "stepz" in the spec, expected one of description`},
		"suggestion":           {head + "  stepz: []\n  steps: [wait: 1s]\n", `(did you mean steps?)`},
		"no steps":             {head + "  steps: []\n", `a scenario needs at least one step`},
		"missing steps":        {head + "  seed: 1\n", `the spec has no "steps"`},
		"name":                 {strings.Replace(head, "name: a", "name: A_b", 1) + "  steps: [wait: 1s]\n", `f.yaml:3:18: expected a DNS label`},
		"twice":                {head + "  seed: 1\n  seed: 2\n  steps: [wait: 1s]\n", `f.yaml:6:3: `},
		"unknown operation":    {step("reqest: {}"), `f.yaml:6:5: unknown field "reqest" in a step, expected one of name, as, expect, eventually, apply, delete, request, load, finish, wait, scale, fault, explain, query, traces, canary (did you mean request?)`},
		"two operations":       {step("wait: 1s\n    finish: b"), `a step has exactly one operation, found finish and wait`},
		"no operation":         {step("name: x"), `a step needs an operation or expectations`},
		"two faults":           {step("fault: {kill: a, restart: b}"), `a fault is exactly one thing, found kill and restart`},
		"fault: bandwidth":     {step("fault: {slow: {from: a, to: b, bandwidth: 0}}"), `at least 1, found "0"`},
		"fault: chaos of none": {step("fault: {chaos: {workloads: [], for: 1m}}"), `chaos needs somebody to strike`},
		"fault: chaos, which":  {step("fault: {chaos: {workloads: [a], for: 1m, faults: [kil]}}"), `did you mean kill`},
		"fault: chaos of one":  {step("fault: {chaos: {workloads: [a], for: 1m, faults: [kill, slow]}}"), `slow is between two workloads`},
		"fault: xds":           {step("fault: {xds: {workload: a}}"), `an xds fault needs either delay or drop: true`},
		"fault: no heal":       {step("fault: {heal: some}"), `all`},
		"protocol":             {step("request: {from: a, " + url + ", protocol: quic}"), `quic`},
		"grpc method":          {step("request: {from: a, url: \"http://b:1/Ping\", protocol: grpc}"), `names its method in the path`},
		"tcp headers":          {step("request: {from: a, url: \"tcp://b:1\", headers: {a: b}}"), `protocol tcp has no headers`},
		"tcp path":             {step("load: {from: a, url: \"tcp://b:1/x\", calls: 1}"), `protocol tcp has no path`},
		"scheme of a protocol": {step("request: {from: a, url: \"ws://b:1/x\", protocol: http2}"), `protocol http2 has no URLs of the scheme "ws"`},
		"tls of wss":           {step("request: {from: a, url: \"wss://b:1/x\"}"), `needs tls`},
		"tls of plain text":    {step("request: {from: a, " + url + ", tls: {mode: insecure}}"), `tls needs an https:// URL`},
		"tls without a ca":     {step(`request: {from: a, url: "https://b/", tls: {sni: c}}`), "tls needs a ca to check the server's certificate with"},
		"tls mode":             {step(`request: {from: a, url: "https://b/", tls: {mode: mutual}}`), `mode mutual needs cert and key`},
		"tls file":             {step(`request: {from: a, url: "https://b/", tls: {ca: missing.pem}}`), `missing.pem cannot be read`},
		"https":                {step(`request: {from: a, url: "https://b/"}`), `an https:// URL needs tls: {ca: FILE}`},
		"scheme":               {step(`request: {from: a, url: "b:80/"}`), `expected a URL like`},
		"port":                 {step(`request: {from: a, url: "http://b:99999/"}`), `expected a port from 1 to 65535 in "b:99999"`},
		"no from":              {step("request: {" + url + "}"), `a request has no "from"`},
		"duration":             {step("wait: 10"), `f.yaml:6:11: expected a duration like 200us, 1.5s or 2m30s, found "10" (did you mean 10s?)`},
		"no time":              {step("wait: 0s"), `expected a duration above zero`},
		"count":                {step("request: {from: a, " + url + ", count: 0}"), `expected a whole number from 1 to 1000000, found "0"`},
		"body twice":           {step("request: {from: a, " + url + ", body: x, bodyBytes: 1}"), `a body or bodyBytes, not both`},
		"keep http open":       {step("request: {from: a, " + url + ", keepOpen: true}"), `only a connection of TCP ends with its body`},
		"framing header":       {step("request: {from: a, " + url + ", headers: {Content-Length: 1}}"), `it follows from the body`},
		"calls and time":       {step("load: {from: a, " + url + "}"), `a load needs either calls or a duration`},
		"url and urls":         {step("load: {from: a, " + url + ", urls: [\"http://c/\"], calls: 1}"), `f.yaml:6:11: a load needs a url, or urls`},
		"no urls":              {step("load: {from: a, urls: [], calls: 1}"), `a load needs a url, or urls`},
		"one weight":           {step("load: {from: a, urls: [\"http://c/\", {" + url + ", weight: 1}], calls: 1}"), `f.yaml:6:41: either all URLs have a weight`},
		"two protocols":        {step("load: {from: a, urls: [\"http://c/\", \"tcp://c:1\"], calls: 1}"), `one protocol, found http1 and tcp`},
		"header of a tcp url":  {step("load: {from: a, urls: [{url: \"tcp://c:1\", headers: {a: b}}], calls: 1}"), `protocol tcp has no headers`},
		"framing of one url":   {step("load: {from: a, urls: [{" + url + ", headers: {Connection: b}}], calls: 1}"), `it follows from the body`},
		"stages and calls":     {step("load: {from: a, " + url + ", calls: 1, stages: [{qps: 1, duration: 1s}]}"), `stages have their own calls`},
		"an empty stage":       {step("load: {from: a, " + url + ", stages: [{duration: 1s}]}"), `a stage needs qps, or to`},
		"stages without calls": {step("load: {from: a, " + url + ", stages: [{qps: 0, duration: 1s}]}"), `the stages make no call`},
		"jitter of no rate":    {step("load: {from: a, " + url + ", calls: 1, jitter: 0.1}"), `jitter needs a rate`},
		"arrival of no rate":   {step("load: {from: a, " + url + ", calls: 1, arrival: poisson}"), `arrival needs a rate`},
		"jitter of chance":     {step("load: {from: a, " + url + ", calls: 1, qps: 1, arrival: poisson, jitter: 0.1}"), `no distance for a jitter`},
		"warm-up of no rate":   {step("load: {from: a, " + url + ", warmUp: 1s, stages: [{to: 10, duration: 1s}]}"), `first rate, which is 0 here`},
		"environment":          {head + "  environments: [sin]\n  steps: [wait: 1s]\n", `found "sin" (did you mean sim?)`},
		"loss":                 {head + "  network: {loss: 2}\n  steps: [wait: 1s]\n", `expected a number from 0 to 1, found "2"`},
		"behaviour":            {head + "  behaviours: [{http: {}}]\n  steps: [wait: 1s]\n", `needs either an image or a workload`},
		"percentiles":          {head + "  behaviours: [{image: x, http: {latency: {p50: 2s, p99: 1s}}}]\n  steps: [wait: 1s]\n", `p99 (1s) is below p50 (2s)`},
		"empty glob":           {head + "  resources: [no/*.yaml]\n  steps: [wait: 1s]\n", `f.yaml:5:15: no file matches "no/*.yaml"`},
		"missing file":         {head + "  resources: [spec_tets.go]\n  steps: [wait: 1s]\n", `(did you mean spec_test.go?)`},
		"a folder":             {head + "  resources: [testdata]\n  steps: [wait: 1s]\n", `is a folder; write "testdata/*.yaml"`},
		"a scenario":           {head + "  resources: [testdata/scenario.txt]\n  steps: [wait: 1s]\n", `scenario.txt:1 is a scenario, not a resource`},
		"one object":           {step("apply: {apiVersion: v1, kind: Service}"), `put "- " before it`},
		"no kind":              {step("apply: [{apiVersion: v1}]"), `an inline object needs apiVersion and kind`},
		"alias":                {step("apply: [{apiVersion: &a v1, kind: *a}]"), `an alias cannot be used`},
		"folded":               {step("apply: >\n      a: b\n\n      c: d"), `begin it with |`},
		"as":                   {step("as: 1x\n    request: {from: a, " + url + "}"), `expected a name`},
		"as of nothing":        {step("as: x\n    wait: 1s"), `wait has none`},
		"eventually":           {step("eventually: 1s\n    wait: 1s"), `eventually needs expectations`},
		"expect":               {step("expect: x == 1"), `expected a list, found "x == 1"`},
		"expression":           {step("expect: [{a: b}]"), `put quotes around it`},
		"finish":               {step("finish: x"), `no background load "x" is running here`},
		"never finished":       {step("as: x\n    load: {from: a, " + url + ", calls: 1, background: true}"), `is never finished`},
		"no result yet":        {step("as: x\n    expect: [count == 1]\n    load: {from: a, " + url + ", calls: 1, background: true}"), `has no result yet`},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := Parse("f.yaml", []byte(tc.text), Options{})
			var all []string
			for _, p := range problems {
				all = append(all, p.Error())
			}
			if got := strings.Join(all, "\n"); !strings.Contains(got, tc.want) {
				t.Errorf("got:\n%s\nwant: %s", got, tc.want)
			}
		})
	}
}

func TestStagesGoOnWhereTheLastOneEnded(t *testing.T) {
	all, problems := Parse("f.yaml", []byte(head+"  steps:\n  - load: {from: a, urls: [\"http://b/\", {url: \"http://c/\", body: x}], stages: [{to: 100, duration: 1s}, {qps: 50, duration: 2s}, {to: 0, duration: 3s}]}\n"), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	l := all[0].Steps[0].Load
	want := []Stage{{From: 0, To: 100, Duration: time.Second}, {From: 50, To: 50, Duration: 2 * time.Second}, {From: 50, To: 0, Duration: 3 * time.Second}}
	if d := cmp.Diff(want, l.Stages, cmp.AllowUnexported(Stage{})); d != "" {
		t.Error(d)
	}
	if l.Method != "GET" || l.URLs[0].Method != "" || l.URLs[1].Method != "POST" || l.Protocol != "http1" || l.Addresses()[1] != "http://c/" {
		t.Errorf("%+v", l)
	}
}

func TestAllProblemsAtOnceWithTheirLines(t *testing.T) {
	_, problems := Parse("dir/f.yaml", []byte("# a comment\n---\n"+head+"  seed: x\n  steps:\n  - wat: 1s\n  - wait: 1\n"), Options{})
	var got []string
	for _, p := range problems {
		got = append(got, p.Position.String()+" "+p.Source)
	}
	want := []string{"dir/f.yaml:7:9   seed: x", "dir/f.yaml:9:5   - wat: 1s", "dir/f.yaml:9:5   - wat: 1s", "dir/f.yaml:10:11   - wait: 1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := problems[0].Detail(); !strings.HasSuffix(d, "\n    seed: x\n          ^") {
		t.Errorf("the mark is off:\n%s", d)
	}
}

func TestNamesAreUniqueAndFoldersKnowScenarios(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b/one.yaml"), head+"  steps: [wait: 1s]\n")
	write(t, filepath.Join(dir, "a/two.yml"), head+"  steps: [wait: 1s]\n")
	write(t, filepath.Join(dir, "a/app.yaml"), "{{ not even yaml\n")
	write(t, filepath.Join(dir, "a/map.yaml"), "kind: ConfigMap\ndata:\n  text: |\n    kind: Scenario\n")
	scenarios, problems := Read([]string{dir}, Options{})
	if len(scenarios) != 2 || !strings.HasSuffix(scenarios[0].Position.File, "two.yml") {
		t.Errorf("got %d scenarios, want two.yml before one.yaml", len(scenarios))
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Message, "is there twice, first at") {
		t.Errorf("got %v", problems)
	}
	if _, problems := Read([]string{filepath.Join(dir, "none.yaml")}, Options{}); len(problems) != 1 {
		t.Errorf("a missing file gave %v", problems)
	}
}

func FuzzParse(f *testing.F) {
	dir, data := everything(f)
	f.Add(data)
	f.Add([]byte(head + "  steps: [apply: [{apiVersion: v1, kind: A}]]\n"))
	f.Add([]byte(head + "  steps:\n  - apply: |\n\n      --- a\n  - apply: |2\n        x"))
	f.Add([]byte("a: &a [*a]\nkind: Scenario\nspec: *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		scenarios, problems := Parse(filepath.Join(dir, "f.yaml"), data, Options{})
		if len(scenarios) == 0 && len(problems) == 0 {
			t.Error("nothing was read and nothing is wrong")
		}
		for _, p := range problems {
			if p.Position.Line < 1 || p.Position.Col < 1 || p.Detail() == "" {
				t.Errorf("no place: %+v", p)
			}
		}
	})
}
