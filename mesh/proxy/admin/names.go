package admin

import (
	"encoding/json"
	"net/http"
)

// names is /names: the name table, as a list of snapshot.Name in JSON.
func (s *server) names(w http.ResponseWriter, _ *http.Request) error {
	p := s.options.Snapshot()
	if p == nil || p.Names == nil {
		return errUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(p.Names)
}
