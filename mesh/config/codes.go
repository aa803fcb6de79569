package config

import (
	"maps"
	"slices"
)

// The codes of the diagnostics. The first two digits are the family: 00 the text,
// 01 its structure, 02 the rules of a kind, 03 spellings that are out of use.
// Packages that find more (references between objects) continue with 04.
const (
	CodeSyntax       = "WT0001"
	CodeNesting      = "WT0002"
	CodeAlias        = "WT0003"
	CodeDuplicateKey = "WT0004"
	CodeDuplicate    = "WT0005"
	CodeUnreadable   = "WT0006"

	CodeUnknownField  = "WT0101"
	CodeType          = "WT0102"
	CodeEnum          = "WT0103"
	CodeFormat        = "WT0104"
	CodeOneof         = "WT0105"
	CodeUnknownKind   = "WT0106"
	CodeUnknownAPI    = "WT0107"
	CodeRequired      = "WT0108"
	CodeRange         = "WT0109"
	CodeNotAnObject   = "WT0110"
	CodeIgnoredFields = "WT0111"
	CodeBystander     = "WT0112"

	CodeName        = "WT0201"
	CodeHost        = "WT0202"
	CodeExclusive   = "WT0203"
	CodeMissing     = "WT0204"
	CodeValue       = "WT0205"
	CodePercentage  = "WT0206"
	CodeWeight      = "WT0207"
	CodePort        = "WT0208"
	CodeHeader      = "WT0209"
	CodeDelegate    = "WT0210"
	CodeUnreachable = "WT0211"
	CodeRepeated    = "WT0212"
	CodeRegex       = "WT0213"
	CodeAddress     = "WT0214"
	CodeSelector    = "WT0215"
	CodeTLS         = "WT0216"
	CodeIneffective = "WT0217"

	CodeRepeatedMatch = "WT0218"

	CodeDeprecatedField = "WT0301"
	CodeDeprecatedValue = "WT0302"

	CodeUnknownImage = "WT0501"
)

// codes says what each code means, in one line.
var codes = map[string]string{
	CodeSyntax:       "The text is not valid YAML.",
	CodeNesting:      "The document is nested too deeply, or its aliases expand too far.",
	CodeAlias:        "An alias or merge key cannot be resolved.",
	CodeDuplicateKey: "A key stands twice in one mapping.",
	CodeDuplicate:    "An object stands twice in one file or folder.",
	CodeUnreadable:   "A file or folder that cannot be read.",

	CodeUnknownField:  "A field that the type does not have.",
	CodeType:          "A value of the wrong type.",
	CodeEnum:          "A value that is none of the allowed ones.",
	CodeFormat:        "A string that is not in the form its field needs: duration, quantity, time, base64.",
	CodeOneof:         "Two fields are set of which only one may be.",
	CodeUnknownKind:   "A kind that is not known.",
	CodeUnknownAPI:    "An apiVersion that is not known, or not for this kind.",
	CodeRequired:      "A required field is missing.",
	CodeRange:         "A number out of its type's range.",
	CodeNotAnObject:   "A document that is not an object with apiVersion, kind and metadata.",
	CodeIgnoredFields: "Fields that are accepted, but have no effect here.",
	CodeBystander:     "An object of a kind that has no effect here.",

	CodeName:        "A name, label or namespace in a form that Kubernetes refuses.",
	CodeHost:        "A host name in a form that Istio refuses.",
	CodeExclusive:   "Settings that exclude each other.",
	CodeMissing:     "A setting is missing that others need.",
	CodeValue:       "A value out of its allowed range.",
	CodePercentage:  "A percentage that is neither 0 nor between 0.0001 and 100.",
	CodeWeight:      "A weight below 0, or weights that sum to 0.",
	CodePort:        "A port that is not between 1 and 65535, or is not declared.",
	CodeHeader:      "A header name that is not one.",
	CodeDelegate:    "A delegating route with settings that delegation excludes.",
	CodeUnreachable: "A route that no request can reach.",
	CodeRepeated:    "A value stands twice where each must be unique.",
	CodeRegex:       "A regular expression that RE2 does not accept.",
	CodeAddress:     "An IP address, prefix or endpoint address that is not one.",
	CodeSelector:    "A selector that is missing, empty or does not match its own template.",
	CodeTLS:         "TLS settings that contradict each other.",
	CodeIneffective: "A setting that has no effect.",

	CodeRepeatedMatch: "A match that stands in a rule before already.",

	CodeDeprecatedField: "A field that is out of use; it works, but has a successor.",
	CodeDeprecatedValue: "A value that is out of use; it works, but has a successor.",

	CodeUnknownImage: "A container image whose behaviour nobody declared.",
}

// Meaning returns what a code means, in one line; "" for codes of other packages.
func Meaning(code string) string { return codes[code] }

// Codes are all codes that have a meaning here, in order.
func Codes() []string { return slices.Sorted(maps.Keys(codes)) }
