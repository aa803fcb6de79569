package meshproxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWaitReturnsWhenTheProxyIsReady(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz/ready" || asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	run := func(args ...string) error {
		return Main(context.Background(), append([]string{"wait"}, args...), io.Discard, io.Discard)
	}
	if err := run("--url", s.URL+"/healthz/ready", "--period", "1ms"); err != nil || asked.Load() != 3 {
		t.Errorf("after %d questions: %v", asked.Load(), err)
	}
	if err := run("--url", s.URL+"/other", "--period", "1ms", "--timeout", "20ms"); err == nil || !strings.Contains(err.Error(), "not ready in 20ms") {
		t.Errorf("never ready: %v", err)
	}
	if err := run("now"); err == nil || !strings.Contains(err.Error(), `"now"`) {
		t.Errorf("an argument: %v", err)
	}
}

func TestCaptureRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range []string{"capture --capture-all-dns", "capture -m TPROXY", "capture -p x"} {
		if err := Main(context.Background(), strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "capture arguments") {
			t.Errorf("%s: %v", args, err)
		}
	}
}
