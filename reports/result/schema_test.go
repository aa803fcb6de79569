package result

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/RESULTS.md")

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, of := range types() {
		for _, f := range fieldsOf(of) {
			if f.name == "" || f.doc == "" {
				t.Errorf("%s.%s has no doc", of.Name(), f.name)
			}
		}
	}
}

func TestPage(t *testing.T) {
	const file = "../../docs/RESULTS.md"
	if *update {
		if err := os.WriteFile(file, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != Page() {
		t.Fatalf("%s is not what the types say, run `make results` (%v)", file, err)
	}
}

func TestSchemaTellsGoodFromBad(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("results.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("results.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(r any) error {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	run := Run{Version: Version, Scenarios: []Scenario{{Name: "a", Status: Passed, Steps: []Step{{Name: "b", Status: Failed,
		Outcomes: []Outcome{{Status: "503", Count: 1, Examples: []Example{{Hops: []Hop{{Pod: "c"}}}}}}}},
		Heat: &Heat{Cells: [][3]int{{1, 2, 3}}}}}}
	if err := validate(run); err != nil {
		t.Errorf("good: %v", err)
	}
	run.Scenarios[0].Status = "wonderful"
	if validate(run) == nil {
		t.Error("a status that does not exist is valid")
	}
}
