package load

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/load/services"
)

// FuzzMessage: whatever a server sends, a message of WebSocket is read or refused, and
// what is written reads back unmasked.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("\x81\x05hello"), "hello")
	f.Add([]byte("\x01\x02he\x89\x00\x80\x03llo"), "")
	f.Add([]byte("\x88\x02\x03\xe8"), strings.Repeat("long", 100))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x"), strings.Repeat("long", 20000))
	f.Fuzz(func(t *testing.T, in []byte, text string) {
		if got, err := readMessage(bufio.NewReader(bytes.NewReader(in)), io.Discard, [4]byte{1, 2, 3, 4}); err == nil && len(got) > len(in) {
			t.Fatalf("%d bytes of %d", len(got), len(in))
		}
		var b bytes.Buffer
		mask := [4]byte{1, 2, 3, 4}
		if err := writeFrame(&b, opText, []byte(text), mask); err != nil {
			t.Fatal(err)
		}
		frame := b.Bytes()
		content := frame[len(frame)-len(text):]
		for i := range content {
			content[i] ^= mask[i%4]
		}
		unmasked := append([]byte(nil), frame[:len(frame)-len(text)-4]...)
		unmasked[1] &= 0x7f
		got, err := readMessage(bufio.NewReader(io.MultiReader(bytes.NewReader(unmasked), bytes.NewReader(content))), io.Discard, mask)
		if err != nil || string(got) != text {
			t.Fatalf("%d bytes came back as %d, %v", len(text), len(got), err)
		}
	})
}

// FuzzRPC: messages of the body are framed or refused, and answers of any kind are text
// or refused.
func FuzzRPC(f *testing.F) {
	f.Add(`{"payload": {"body": "AAAA"}}`, []byte("\x00\x00\x00\x00\x05\x0a\x03\x12\x01a"))
	f.Add(`{"responseParameters": [{"size": 1}]} {}`, []byte("\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add(`[`, []byte("\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body string, answer []byte) {
		r := &request{target: Target{Body: []byte(body)}, path: "/grpc.testing.TestService/FullDuplexCall"}
		if err := r.prepareRPC(); err == nil {
			if _, err := (&rpc{r.rpc.method}).text(r.messages); err != nil {
				// a request's messages need not be of the answer's type, but their frames hold
				if strings.Contains(err.Error(), "compressed") {
					t.Fatal(err)
				}
			}
		}
		method, err := services.Method(r.path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = (&rpc{method}).text(answer)
	})
}
