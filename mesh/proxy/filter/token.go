package filter

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// token is a token with the place that it came from.
type token struct {
	text          string
	header, param string // a cookie has neither: it stays
}

// tokens finds all tokens in the places of a provider.
func tokens(p *snapshot.JWTProvider, r *message.Request) []token {
	headers, params := p.Headers, p.Params
	if len(headers)+len(params)+len(p.Cookies) == 0 {
		headers, params = []snapshot.JWTHeader{{Name: "authorization", Prefix: "Bearer "}}, []string{"access_token"}
	}
	var list []token
	for _, h := range headers {
		if value, ok := r.Header.Lookup(h.Name); ok {
			if i := strings.Index(value, h.Prefix); i >= 0 {
				text, _, _ := strings.Cut(strings.TrimLeft(value[i+len(h.Prefix):], " "), " ")
				list = append(list, token{text: text, header: h.Name})
			}
		}
	}
	_, query, _ := strings.Cut(r.Path, "?")
	for _, name := range params {
		for pair := range strings.SplitSeq(query, "&") {
			if text, ok := strings.CutPrefix(pair, name+"="); ok {
				list = append(list, token{text: text, param: name})
			}
		}
	}
	for _, name := range p.Cookies {
		for _, line := range r.Header.Values("cookie") {
			for pair := range strings.SplitSeq(line, ";") {
				if text, ok := strings.CutPrefix(strings.TrimSpace(pair), name+"="); ok {
					list = append(list, token{text: strings.Trim(text, `"`)})
				}
			}
		}
	}
	return list
}

// remove takes a token out of the request.
func (t token) remove(r *message.Request) {
	if t.header != "" {
		r.Header.Del(t.header)
	}
	if t.param == "" {
		return
	}
	path, query, _ := strings.Cut(r.Path, "?")
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if !strings.HasPrefix(pair, t.param+"=") {
			kept = append(kept, pair)
		}
	}
	if r.Path = path; len(kept) > 0 {
		r.Path += "?" + strings.Join(kept, "&")
	}
}
