package analyze

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// The parts of SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format) that
// code hosts read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string           `json:"id"`
		ShortDescription sarifText        `json:"shortDescription"`
		Properties       *sarifProperties `json:"properties,omitempty"`
	}
	sarifProperties struct {
		Tags []string `json:"tags"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical  `json:"physicalLocation"`
		LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int        `json:"startLine"`
		StartColumn int        `json:"startColumn,omitempty"`
		Snippet     *sarifText `json:"snippet,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// SARIF writes findings as a SARIF 2.1.0 log.
func SARIF(w io.Writer, findings []Finding, version string) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "windtunnel", Version: version, Rules: []sarifRule{}}},
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	for _, f := range findings {
		run.Results = append(run.Results, sarifResultOf(f, run.rule(f)))
	}
	return encode(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// rule is the index of a finding's rule, which is added where it is new.
func (r *sarifRun) rule(f Finding) int {
	rules := &r.Tool.Driver.Rules
	if i := slices.IndexFunc(*rules, func(r sarifRule) bool { return r.ID == f.Code }); i >= 0 {
		return i
	}
	rule := sarifRule{ID: f.Code, ShortDescription: sarifText{Meaning(f.Code)}}
	if f.Istio != "" {
		rule.Properties = &sarifProperties{Tags: []string{f.Istio}}
	}
	*rules = append(*rules, rule)
	return len(*rules) - 1
}

var sarifLevels = map[config.Severity]string{config.Error: "error", config.Warning: "warning", config.Info: "note"}

func sarifResultOf(f Finding, rule int) sarifResult {
	text := f.Message
	if f.Hint != "" {
		text += " (" + f.Hint + ")"
	}
	r := sarifResult{RuleID: f.Code, RuleIndex: rule, Level: sarifLevels[f.Severity], Message: sarifText{text}}
	if f.Position.File == "" {
		return r
	}
	l := sarifLocation{PhysicalLocation: sarifPhysical{ArtifactLocation: sarifArtifact{(&url.URL{Path: filepath.ToSlash(f.Position.File)}).String()}}}
	if f.Position.Line > 0 {
		l.PhysicalLocation.Region = &sarifRegion{StartLine: f.Position.Line, StartColumn: f.Position.Col}
		if f.Excerpt != "" {
			l.PhysicalLocation.Region.Snippet = &sarifText{f.Excerpt}
		}
	}
	if f.Object.Kind != "" {
		l.LogicalLocations = []sarifLogical{{f.Object.String(), "object"}}
	}
	r.Locations = []sarifLocation{l}
	return r
}
