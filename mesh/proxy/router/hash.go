package router

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// hashOf combines a route's hash policies as Envoy does: each hash is mixed into the
// one before, rotated by a bit, and a terminal policy ends the list once there is a
// hash. setCookies are the fields to send where policies make cookies.
func hashOf(policies []snapshot.HashPolicy, r *message.Request) (hash uint64, found bool, setCookies []string) {
	for i := range policies {
		p := &policies[i]
		value, ok := "", false
		switch {
		case p.Header != "":
			value, ok = r.Header.Lookup(p.Header)
		case p.Cookie != nil:
			value, ok = cookie(r.Header, p.Cookie.Name)
			if !ok && p.Cookie.TTL != nil {
				value, ok = newCookie(r), true
				setCookies = append(setCookies, cookieField(p.Cookie, value))
			}
		case p.SourceIP:
			value, ok = sourceIP(r.Stream)
		case p.Query != "":
			value, ok = queryValue(r.Path, p.Query)
		}
		if ok {
			h := upstream.Hash(value)
			if found {
				h ^= hash<<1 | hash>>63
			}
			hash, found = h, true
		}
		if found && p.Terminal {
			break
		}
	}
	return hash, found, setCookies
}

// sourceIP is the client's address as far as it is trusted.
func sourceIP(s *message.Stream) (string, bool) {
	switch {
	case s.Remote.IsValid():
		return s.Remote.Addr().String(), true
	case s.Conn != nil && s.Conn.Remote.IsValid():
		return s.Conn.Remote.Addr().String(), true
	default:
		return "", false
	}
}

func cookie(h message.Header, name string) (string, bool) {
	for i := range h {
		if h[i].Name != "cookie" {
			continue
		}
		for _, pair := range strings.Split(h[i].Value, ";") {
			if n, v, _ := strings.Cut(strings.TrimSpace(pair), "="); n == name {
				return strings.Trim(v, `"`), true
			}
		}
	}
	return "", false
}

// newCookie is a value that keeps the client apart from others: by its addresses, as Envoy's.
func newCookie(r *message.Request) string {
	var b [8]byte
	if c := r.Stream.Conn; c != nil {
		binary.BigEndian.PutUint64(b[:], upstream.Hash(c.Remote.String()+c.Local.String()))
	}
	return hex.EncodeToString(b[:])
}

func queryValue(target, name string) (string, bool) {
	_, query := route.SplitPath(target)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v, true
		}
	}
	return "", false
}
