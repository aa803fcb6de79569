package workload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// curlFlags are those of curl(1) that people use in Pods, by the letters that it has.
type curlFlags struct {
	silent, showError, include, head, insecure, follow, verbose, fail bool
	method, data, output, format                                      string
	headers                                                           []string
	limit                                                             float64
}

// curl plays as much of curl(1) as tutorials type into the Pods of a cluster. Options
// that it does not have are refused by name.
func (w World) curl(ctx context.Context, args []string) error {
	var c curlFlags
	f := pflag.NewFlagSet("curl", pflag.ContinueOnError)
	f.SetOutput(w.Stderr)
	f.BoolVarP(&c.silent, "silent", "s", false, "no progress: there is none")
	f.BoolVarP(&c.showError, "show-error", "S", false, "errors with -s, too")
	f.BoolVarP(&c.include, "include", "i", false, "the head of the response, too")
	f.BoolVarP(&c.head, "head", "I", false, "the head of the response alone, by HEAD")
	f.BoolVarP(&c.insecure, "insecure", "k", false, "take any certificate")
	f.BoolVarP(&c.follow, "location", "L", false, "follow redirects")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "both heads, to standard error")
	f.BoolVarP(&c.fail, "fail", "f", false, "codes from 400 on are errors")
	f.StringVarP(&c.method, "request", "X", "", "`method`")
	f.StringVarP(&c.data, "data", "d", "", "`body`, by POST")
	f.StringVarP(&c.output, "output", "o", "", "`file` for the body")
	f.StringVarP(&c.format, "write-out", "w", "", "`format` of what is printed at the end: %{http_code}, %{time_total}")
	f.StringArrayVarP(&c.headers, "header", "H", nil, "`header`")
	f.Float64VarP(&c.limit, "max-time", "m", 0, "`seconds`")
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("curl: %w", err)
	}
	if f.NArg() == 0 {
		return errors.New("curl: no URL")
	}
	for _, url := range f.Args() {
		if err := c.do(ctx, w, url); err != nil {
			if c.silent && !c.showError {
				return ErrSilent
			}
			return fmt.Errorf("curl: %w", err)
		}
	}
	return nil
}

// ErrSilent is an error that somebody asked not to be told.
var ErrSilent = errors.New("told to be silent")

func (c *curlFlags) request(ctx context.Context, url string) (*http.Request, error) {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	method, body := c.method, io.Reader(http.NoBody)
	if c.data != "" {
		body = strings.NewReader(c.data)
	}
	switch {
	case method != "":
	case c.head:
		method = http.MethodHead
	case c.data != "":
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "curl/8.0.0")
	r.Header.Set("Accept", "*/*")
	if c.data != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range c.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("-H %q: expected NAME: VALUE", h)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "host") {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	return r, nil
}

func (c *curlFlags) do(ctx context.Context, w World, url string) error {
	if c.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.limit*float64(time.Second)))
		defer cancel()
	}
	r, err := c.request(ctx, url)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, addr string) (net.Conn, error) { return w.Network.Dial(ctx, addr) },
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: c.insecure, ServerName: hostOf(r)},
		DisableCompression: true}}
	defer client.CloseIdleConnections()
	if !c.follow {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	begin := time.Now()
	if c.verbose {
		fmt.Fprintf(w.Stderr, "> %s %s HTTP/1.1\n> Host: %s\n", r.Method, r.URL.RequestURI(), r.Host)
	}
	a, err := client.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if err := c.print(w, a); err != nil {
		return err
	}
	if c.format != "" {
		fmt.Fprint(w.Stdout, strings.NewReplacer(`\n`, "\n", `\t`, "\t", "%{http_code}", fmt.Sprintf("%03d", a.StatusCode),
			"%{response_code}", fmt.Sprintf("%03d", a.StatusCode), "%{time_total}", fmt.Sprintf("%f", time.Since(begin).Seconds())).Replace(c.format))
	}
	if c.fail && a.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the response was %d", a.StatusCode)
	}
	return nil
}

// hostOf is the name that a server's certificate has to have: the URL's.
func hostOf(r *http.Request) string { return r.URL.Hostname() }

func (c *curlFlags) print(w World, a *http.Response) error {
	head := func(to io.Writer, mark string) {
		fmt.Fprintf(to, "%s%s %s\r\n", mark, a.Proto, a.Status)
		for name, values := range a.Header {
			for _, v := range values {
				fmt.Fprintf(to, "%s%s: %s\r\n", mark, strings.ToLower(name), v)
			}
		}
		fmt.Fprintf(to, "%s\r\n", mark)
	}
	if c.verbose {
		head(w.Stderr, "< ")
	}
	to := w.Stdout
	if c.output != "" && c.output != os.DevNull {
		file, err := os.Create(c.output)
		if err != nil {
			return err
		}
		defer file.Close()
		to = file
	} else if c.output == os.DevNull {
		to = io.Discard
	}
	if c.include || c.head {
		head(to, "")
	}
	_, err := io.Copy(to, a.Body)
	return err
}
