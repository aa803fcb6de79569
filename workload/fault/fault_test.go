package fault

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestOrders(t *testing.T) {
	server := httptest.NewServer(Handler())
	t.Cleanup(server.Close)
	nobody := []string{strings.Repeat("0123456789abcdef", 4)}
	for want, o := range map[string]Order{
		"there is no action":  {Action: "explode", Containers: nobody},
		"needs containers":    {Action: Kill},
		"no container's id":   {Action: Kill, Containers: []string{"../1"}},
		"pause filters":       {Action: Pause, Containers: nobody, Refuse: []uint16{80}},
		"no process of the":   {Action: Filter, Containers: nobody, Drop: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		"resume: no process ": {Action: Resume, Containers: nobody},
	} {
		if err := Ask(t.Context(), http.DefaultClient, server.URL, &o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	answer, err := http.Post(server.URL+"/fault", "application/json", strings.NewReader(`{"action":"kill","pid":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("an order with an unknown field: %s", answer.Status)
	}
}
