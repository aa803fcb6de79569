package spec

import "encoding/json"

// SchemaID is the address that scenario files name in their first line.
const SchemaID = "https://windtunnel.dev/schema/scenario.v1.json"

// Schema is the JSON Schema (draft 2020-12) of a scenario document, indented. It
// has every operation and field.
func Schema() ([]byte, error) {
	s := fileFormat().schema()
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = SchemaID
	s["title"] = "Windtunnel scenario"
	s["description"] = "A document of kind Scenario: resources, then steps with expectations. Other documents of the same file are resources."
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}
