package http2

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// frames runs a server, gives it what a raw client sends, and lists what comes back.
func frames(t *testing.T, o ServerOptions, send func(f *http2.Framer, raw net.Conn)) (list []string, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		began := time.Now()
		ended := make(chan struct{})
		go func() {
			NewServer(far, o).Run(t.Context())
			close(ended)
		}()
		go func() {
			_, _ = io.WriteString(near, Preface)
			f := http2.NewFramer(near, nil)
			_ = f.WriteSettings()
			send(f, near)
		}()
		f := http2.NewFramer(nil, near)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				break
			}
			switch x := frame.(type) {
			case *http2.WindowUpdateFrame:
				list = append(list, fmt.Sprintf("window %d", x.Increment))
			case *http2.SettingsFrame:
				if v, ok := x.Value(http2.SettingInitialWindowSize); ok {
					n, _ := x.Value(http2.SettingMaxConcurrentStreams)
					list = append(list, fmt.Sprintf("settings %d %d", v, n))
				}
			case *http2.PingFrame:
				list = append(list, fmt.Sprintf("ping %v", time.Since(began)))
			case *http2.GoAwayFrame:
				list = append(list, fmt.Sprintf("goaway %v", x.ErrCode))
			case *http2.HeadersFrame:
				list = append(list, fmt.Sprintf("headers %d", x.StreamID))
			}
		}
		took = time.Since(began)
		near.Close()
		<-ended
	})
	return list, took
}

func TestSettings(t *testing.T) {
	o := ServerOptions{MaxStreams: 7, Idle: time.Minute, Settings: Settings{StreamWindow: 70000, ConnectionWindow: 100000}}
	list, took := frames(t, o, func(*http2.Framer, net.Conn) {})
	if fmt.Sprint(list) != "[settings 70000 7 window 34465 goaway NO_ERROR]" || took != time.Minute {
		t.Errorf("%v after %v", list, took)
	}
}

func TestKeepaliveEndsADeadConnection(t *testing.T) {
	o := ServerOptions{Settings: Settings{Keepalive: 10 * time.Second, KeepaliveTimeout: 3 * time.Second}}
	list, took := frames(t, o, func(f *http2.Framer, _ net.Conn) {
		time.Sleep(11 * time.Second)
		_ = f.WritePing(true, [8]byte{1})
	})
	if fmt.Sprint(list[2:]) != "[ping 10s ping 21s]" || took != 24*time.Second {
		t.Errorf("%v after %v", list, took)
	}
	s := SettingsOf(&snapshot.HTTP2Options{Keepalive: 10 * time.Second, KeepaliveJitter: 20}, 0.5)
	if s.Keepalive != 11*time.Second {
		t.Errorf("with half of a jitter of 20 %% the interval is %v", s.Keepalive)
	}
}

func TestHeadHasToComeInTime(t *testing.T) {
	o := ServerOptions{HeadTime: 2 * time.Second, Serve: func(_ context.Context, x *ServerStream) {}}
	for name, send := range map[string]func(f *http2.Framer, raw net.Conn){
		"continuation": func(f *http2.Framer, _ net.Conn) {
			time.Sleep(5 * time.Second) // between frames there is time
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		},
		"half a frame": func(_ *http2.Framer, raw net.Conn) {
			var b bytes.Buffer
			_ = http2.NewFramer(&b, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 100), EndHeaders: true})
			time.Sleep(5 * time.Second)
			_, _ = raw.Write(b.Bytes()[:50])
		},
	} {
		list, took := frames(t, o, send)
		if fmt.Sprint(list[2:]) != "[headers 1 goaway NO_ERROR]" || took != 7*time.Second {
			t.Errorf("%s: %v after %v", name, list, took)
		}
	}
	list, _ := frames(t, o, func(_ *http2.Framer, raw net.Conn) {
		head := binary.BigEndian.AppendUint32(nil, 4<<8) // 4 bytes, SETTINGS, of which the content does not come
		_, _ = raw.Write(append(head, 0, 0))
	})
	if fmt.Sprint(list[2:]) != "[goaway NO_ERROR]" {
		t.Errorf("a frame's head that does not end: %v", list)
	}
}
