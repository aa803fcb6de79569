package filter

import "testing"

// Whatever a service answers is an error, or something that a client can be told.
func FuzzCheckResponse(f *testing.F) {
	f.Add([]byte("\x0a\x02\x08\x07\x12\x0a\x0a\x03\x08\x91\x03\x1a\x03who"))
	f.Add([]byte("\x1a\x10\x12\x0e\x0a\x08\x0a\x03x-a\x12\x01b\x12\x02\x08\x01"))
	f.Add([]byte("\x12\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, m []byte) {
		if p, err := readCheck(m); err == nil && (p.status < 100 || p.status > 599) {
			t.Fatalf("the answer has no status: %+v", p)
		}
	})
}
