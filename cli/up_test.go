package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// taken listens on a port of 127.0.0.1 until the script ends: taken NAME.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

// output collects what a process says.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// await returns the groups of the first match, once there is one.
func (o *output) await(ts *testscript.TestScript, expression string) []string {
	re := regexp.MustCompile(expression)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		o.mu.Lock()
		text := o.text.String()
		o.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it does not say %s:\n%s", expression, text)
		}
	}
}

// uptest has a mesh up, uses it, saves its last file with another route and with a
// mistake, and ends it with Ctrl-C: uptest FILE….
func uptest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: uptest FILE…")
	}
	program, err := exec.LookPath("windtunnel")
	if err != nil { // testscript puts it on the script's PATH
		program = filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "windtunnel")
	}
	c := exec.Command(program, "up", "-f", strings.Join(args, ","), "--port", "0", "--dashboard", "127.0.0.1:0")
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
	var stdout, stderr output
	c.Stdout, c.Stderr = &stdout, &stderr
	ts.Check(c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	ts.Defer(func() { _ = c.Process.Kill() }) // it has ended where all went well

	board := stdout.await(ts, `dashboard  (http://127\.0\.0\.1:\d+/)`)[1]
	gateway := stdout.await(ts, `gateway    (http://127\.0\.0\.1:\d+/)`)[1]
	service := stdout.await(ts, `default/reviews +9080 +(127\.\S+)`)[1]
	stdout.await(ts, `default/reviews-v3-\S+ +sidecar +127\.\S+:9080 +127\.\S+:15000`)
	answers := func(url string, code int, want string) {
		r, err := http.Get(url)
		ts.Check(err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		ts.Check(err)
		if r.StatusCode != code || !strings.Contains(string(text), want) {
			ts.Fatalf("%s answers %s: %.200s", url, r.Status, text)
		}
	}
	answers(gateway+"productpage", 200, "<title>Simple Bookstore App</title>")
	answers("http://"+service+"/reviews/0", 200, "Reviewer1")
	answers(board, 200, "<title>windtunnel</title>")
	answers(board+"api/requests", 200, `"to":"productpage-v1"`)

	last := ts.MkAbs(args[len(args)-1])
	text := ts.ReadFile(args[len(args)-1])
	ts.Check(os.WriteFile(last, []byte(strings.Replace(text, "exact: /productpage", "exact: /elsewhere", 1)), 0o600))
	stderr.await(ts, `changed VirtualService default/bookinfo; every proxy has it after \d+ ms\n`)
	answers(gateway+"productpage", 404, "")
	ts.Check(os.WriteFile(last, []byte(strings.Replace(text, "exact: /productpage", "exakt: /productpage", 1)), 0o600))
	stderr.await(ts, regexp.QuoteMeta(args[len(args)-1])+`:28:9: error: .*exakt[\s\S]*its last good version stays`)
	answers(gateway+"productpage", 404, "")
	ts.Check(c.Process.Signal(syscall.SIGINT))
	select {
	case err := <-ended:
		ts.Check(err) // exit code 0
	case <-time.After(time.Minute):
		ts.Fatalf("Ctrl-C does not end it")
	}
}
