package listen

import (
	"bytes"
	"testing"
)

const v2 = binaryStart

func TestProxyProtocol(t *testing.T) {
	v4 := string([]byte{203, 0, 113, 7, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb})
	v6 := string(bytes.Repeat([]byte{0x20}, 32)) + "\x9c\x40\x01\xbb"
	for text, want := range map[string]struct {
		source, destination string
		rest                string
		err                 error
	}{
		"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\nGET /": {"203.0.113.7:40000", "192.0.2.1:443", "GET /", nil},
		"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n":    {"[2001:db8::7]:40000", "[2001:db8::1]:443", "", nil},
		"PROXY UNKNOWN\r\nhi":                                 {"invalid AddrPort", "invalid AddrPort", "hi", nil},
		"PROXY UNKNOWN whatever it says\r\nhi":                {"invalid AddrPort", "invalid AddrPort", "hi", nil},
		"PROXY TCP4 203.0.113.7 192.0.2.1 40000":              {err: errUndecided},
		"PRO":                                                 {err: errUndecided},
		"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\n\r\n":    {err: errBadHeader},
		"PROXY TCP4 2001:db8::7 192.0.2.1 40000 443\r\n":      {err: errBadHeader},
		"PROXY TCP6 fe80::1%eth0 fe80::2 40000 443\r\n":       {err: errBadHeader},
		"PROXY TCP4 203.0.113.7 192.0.2.1 040000 443\r\n":     {err: errBadHeader},
		"PROXY TCP4 203.0.113.7 192.0.2.1 70000 443\r\n":      {err: errBadHeader},
		"PROXY TCP4 203.0.113.7 192.0.2.1  443\r\n":           {err: errBadHeader},
		"PROXY UDP4 203.0.113.7 192.0.2.1 40000 443\r\n":      {err: errBadHeader},
		"PROXY " + string(bytes.Repeat([]byte("x"), 200)):     {err: errBadHeader},
		"GET / HTTP/1.1\r\n\r\n":                              {err: errNoHeader},
		"PROXIES":                                             {err: errNoHeader},
		v2 + "\x21\x11\x00\x0c" + v4 + "GET /":                {"203.0.113.7:40000", "192.0.2.1:443", "GET /", nil},
		v2 + "\x21\x11\x00\x0f" + v4 + "\x04\x00\x00GET /":    {"203.0.113.7:40000", "192.0.2.1:443", "GET /", nil},
		v2 + "\x21\x21\x00\x24" + v6:                          {"[2020:2020:2020:2020:2020:2020:2020:2020]:40000", "[2020:2020:2020:2020:2020:2020:2020:2020]:443", "", nil},
		v2 + "\x20\x00\x00\x00hi":                             {"invalid AddrPort", "invalid AddrPort", "hi", nil},
		v2 + "\x21\x00\x00\x00hi":                             {"invalid AddrPort", "invalid AddrPort", "hi", nil},
		v2 + "\x21\x11\x00\x0c" + v4[:5]:                      {err: errUndecided},
		v2:                                                    {err: errUndecided},
		v2[:4]:                                                {err: errUndecided},
		v2 + "\x21\x11\x00\x0b" + v4:                          {err: errBadHeader},
		v2 + "\x21\x12\x00\x0c" + v4:                          {err: errBadHeader}, // UDP
		v2 + "\x22\x11\x00\x0c" + v4:                          {err: errBadHeader},
		v2 + "\x31\x11\x00\x0c" + v4:                          {err: errBadHeader},
		v2 + "\x21\x31\x00\x0c" + v4:                          {err: errBadHeader}, // Unix sockets
	} {
		p, err := parseProxied([]byte(text))
		if err != want.err {
			t.Errorf("%q: %v, want %v", text, err, want.err)
			continue
		}
		if err == nil && (p.source.String() != want.source || p.destination.String() != want.destination || text[p.length:] != want.rest) {
			t.Errorf("%q: from %v to %v, then %q", text, p.source, p.destination, text[p.length:])
		}
	}
}

// Whatever comes, a header ends within the bytes, and more bytes do not change what it says.
func FuzzProxyProtocol(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\nGET /"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2 + "\x21\x11\x00\x0c0123456789ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProxied(b)
		if err == errUndecided {
			return
		}
		if p.length > len(b) || err == nil && p.source.IsValid() != p.destination.IsValid() {
			t.Fatalf("%q: %+v", b, p)
		}
		again, after := parseProxied(append(bytes.Clone(b), "more\r\n"...))
		if again != p || after != err {
			t.Fatalf("%q: %+v, %v, with more %+v, %v", b, p, err, again, after)
		}
	})
}
