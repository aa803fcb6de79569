package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// block is an encoded head of a request.
func block(fields ...string) []byte {
	return encode(append([]string{":method GET", ":scheme http", ":path /", ":authority a"}, fields...)...)
}

func encode(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, " ")
		_ = e.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	return b.Bytes()
}

// TestHostileFrames: what breaks the protocol ends the connection with the code of
// RFC 9113, and floods end it, too; goroutines end with it, or the bubble would not.
func TestHostileFrames(t *testing.T) {
	wait := func(ctx context.Context, _ *ServerStream) { <-ctx.Done() }
	head := func(f *http2.Framer, id uint32, end bool) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(), EndHeaders: true, EndStream: end})
	}
	for name, test := range map[string]struct {
		send func(f *http2.Framer, raw net.Conn)
		want string // the last frame
	}{
		"stream of the server's": {func(f *http2.Framer, _ net.Conn) { head(f, 2, true) }, "goaway PROTOCOL_ERROR"},
		"data on an idle stream": {func(f *http2.Framer, _ net.Conn) { _ = f.WriteData(1, true, []byte("x")) }, "goaway PROTOCOL_ERROR"},
		"reset of an idle stream": {func(f *http2.Framer, _ net.Conn) { _ = f.WriteRSTStream(1, http2.ErrCodeCancel) },
			"goaway PROTOCOL_ERROR"},
		"window beyond 2^31": {func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteWindowUpdate(0, 1<<31-1)
		}, "goaway FLOW_CONTROL_ERROR"},
		"frame too large": {func(f *http2.Framer, raw net.Conn) {
			head(f, 1, false)
			_, _ = raw.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1})
		}, "goaway FRAME_SIZE_ERROR"},
		"pushed": {func(f *http2.Framer, _ net.Conn) {
			_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block(), EndHeaders: true})
		}, "goaway PROTOCOL_ERROR"},
		"settings twice": {func(f *http2.Framer, _ net.Conn) {
			s := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}
			_ = f.WriteSettings(s, s)
		}, "goaway PROTOCOL_ERROR"},
		"window of 2^31": {func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, "goaway FLOW_CONTROL_ERROR"},
		"more than the window": {func(f *http2.Framer, _ net.Conn) {
			head(f, 1, false)
			for range 200 {
				if f.WriteData(1, false, make([]byte, 16<<10)) != nil {
					return
				}
			}
		}, "reset FLOW_CONTROL_ERROR"},
		"another frame within a head": {func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block()})
			_ = f.WritePing(false, [8]byte{})
		}, "goaway PROTOCOL_ERROR"},
		"flood of continuations": {func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block()})
			for range 1000 {
				if f.WriteContinuation(1, false, encode("x "+strings.Repeat("y", 4000))) != nil {
					return
				}
			}
		}, "goaway PROTOCOL_ERROR"},
		"flood of resets": {func(f *http2.Framer, _ net.Conn) {
			for id := uint32(1); id < 4000; id += 2 {
				head(f, id, false)
				if f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, "goaway ENHANCE_YOUR_CALM"},
		"flood of priorities": {func(f *http2.Framer, _ net.Conn) {
			for range 1000 {
				if f.WritePriority(1, http2.PriorityParam{StreamDep: 3}) != nil {
					return
				}
			}
		}, "goaway ENHANCE_YOUR_CALM"},
		"flood of window updates": {func(f *http2.Framer, _ net.Conn) {
			head(f, 1, false)
			for range 100 {
				if f.WriteWindowUpdate(1, 1) != nil {
					return
				}
			}
		}, "goaway ENHANCE_YOUR_CALM"},
		"flood of empty content": {func(f *http2.Framer, _ net.Conn) {
			head(f, 1, false)
			for range 5 {
				if f.WriteData(1, false, nil) != nil {
					return
				}
			}
		}, "goaway ENHANCE_YOUR_CALM"},
		"empty content once": {func(f *http2.Framer, _ net.Conn) {
			head(f, 1, false)
			_ = f.WriteData(1, false, nil)
			_ = f.WriteData(1, true, nil)
			_ = f.WriteWindowUpdate(0, 1<<31-1)
		}, "goaway FLOW_CONTROL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ended := make(chan struct{})
				go func() {
					NewServer(far, ServerOptions{Serve: wait, MaxStreams: 8, HeadBytes: 8 << 10}).Run(t.Context())
					close(ended)
				}()
				go func() {
					_, _ = io.WriteString(near, Preface)
					f := http2.NewFramer(near, nil)
					_ = f.WriteSettings()
					test.send(f, near)
					time.Sleep(time.Second)
					near.Close()
				}()
				last := ""
				for f := http2.NewFramer(nil, near); ; {
					frame, err := f.ReadFrame()
					if err != nil {
						break
					}
					switch x := frame.(type) {
					case *http2.GoAwayFrame:
						last = fmt.Sprint("goaway ", x.ErrCode)
					case *http2.RSTStreamFrame:
						last = fmt.Sprint("reset ", x.ErrCode)
					}
				}
				near.Close()
				<-ended
				time.Sleep(time.Minute)
				if last != test.want {
					t.Errorf("the last frame was %q, want %q", last, test.want)
				}
			})
		})
	}
}

// TestUnreadFloods: who asks for answers and reads none of them is left.
func TestUnreadFloods(t *testing.T) {
	for name, ask := range map[string]func(f *http2.Framer, i uint32) error{
		"pings":    func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{}) },
		"settings": func(f *http2.Framer, _ uint32) error { return f.WriteSettings() },
		"streams that are refused": func(f *http2.Framer, i uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: encode("x y"), EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				ended := make(chan struct{})
				go func() {
					NewServer(far, ServerOptions{Serve: mirror}).Run(t.Context())
					close(ended)
				}()
				_, _ = io.WriteString(near, Preface)
				f := http2.NewFramer(near, nil)
				asked := uint32(0)
				for f.WriteSettings() == nil && asked < 10_000 && ask(f, asked) == nil {
					asked++
				}
				<-ended
				if asked > 1100 {
					t.Errorf("it answered %d times, unread", asked)
				}
			})
		})
	}
}

// FuzzServer: whatever comes behind the preface, the connection ends with its peer, and
// nothing that is no frame reaches a stream's content.
func FuzzServer(f *testing.F) {
	add := func(write func(f *http2.Framer)) {
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		f.Add(b.Bytes())
	}
	add(func(f *http2.Framer) { _ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}) })
	add(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("content-length 2", "te trailers"), EndHeaders: true})
		_ = f.WriteDataPadded(1, false, []byte("hi"), []byte{0, 0})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode("x-sum 1"), EndHeaders: true, EndStream: true})
	})
	add(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(), EndStream: true})
		_ = f.WriteContinuation(1, true, encode("x y"))
		_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = f.WritePing(true, [8]byte{})
		_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		_ = f.WriteWindowUpdate(0, 5)
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		go func() {
			NewServer(far, ServerOptions{Serve: mirror, MaxStreams: 4, HeadBytes: 4096}).Run(t.Context())
			close(ended)
		}()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		_, _ = near.Write(append([]byte(Preface), in...))
		near.Close()
		<-ended
	})
}
