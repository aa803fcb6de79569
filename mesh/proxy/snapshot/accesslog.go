package snapshot

// AccessLog is one log of a listener or connection manager.
type AccessLog struct {
	Path   string // file, /dev/stdout
	Format string // text with command operators; empty: default
	// JSON is written in place of Format: what encoding/json makes of an object, its
	// strings being formats.
	JSON map[string]any
	// OmitEmpty leaves values out that are missing: the keys of JSON, the "-" of text.
	OmitEmpty bool
	Filter    *LogFilter // nil: everything
}

// LogFilter picks exchanges for a log. Exactly one of the fields is set; with none but
// Flags, which may be empty for any, it picks those with a response flag.
type LogFilter struct {
	And, Or    []LogFilter
	Status     *Comparison
	Duration   *Comparison // milliseconds
	Expression string      // CEL over Envoy's attributes
	Flags      []string
}

// Comparison is Envoy's ComparisonFilter.
type Comparison struct {
	Order int // -1: at most, 0: equal, 1: at least
	Value int64
}

// Holds compares a number.
func (c *Comparison) Holds(n int64) bool {
	return n == c.Value || c.Order < 0 && n < c.Value || c.Order > 0 && n > c.Value
}
