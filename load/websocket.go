package load

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The opcodes of RFC 6455, 5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// maxFrame bounds a frame's content, in bytes.
const maxFrame = 16 << 20

// websocket makes a call of WebSocket: the handshake, one text message, one message
// back, and the closing handshake. A handshake that is answered otherwise than with a
// 101 is an answer, too.
func websocket(c *caller, r *Record) (answered bool, err error) {
	defer c.close()
	var nonce [16]byte
	keys := c.request.target.Seed.Sub("websocket/" + r.ID)
	keys.Bytes("key", nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	head := c.request.head + "X-Request-Id: " + r.ID + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
	if _, err := io.WriteString(c.conn, head); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(c.reader, &http.Request{Method: "GET"})
	if err != nil {
		return false, fmt.Errorf("%w: %w", errNoByte, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		kept, err := c.take(r, answer.Body)
		if err != nil {
			return true, err
		}
		r.Status, r.Protocol = answer.StatusCode, answer.Proto
		c.keep(r, lower(answer.Header), kept)
		return true, nil
	}
	if err := agreed(answer.Header, key); err != nil {
		return true, err
	}
	var mask [4]byte
	keys.Bytes("mask", mask[:])
	if err := writeFrame(c.conn, opText, c.request.target.Body, mask); err != nil {
		return true, err
	}
	text, err := readMessage(c.reader, c.conn, mask)
	if err != nil {
		return true, fmt.Errorf("websocket: %w", err)
	}
	if err := goodbye(c.reader, c.conn, mask); err != nil {
		return true, fmt.Errorf("websocket: %w", err)
	}
	r.Status, r.Protocol, r.Bytes = answer.StatusCode, answer.Proto, int64(len(text))
	c.keep(r, lower(answer.Header), text[:min(len(text), keptBody)])
	return true, nil
}

// agreed checks a 101 (RFC 6455, 4.1).
func agreed(h http.Header, key string) error {
	const suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
	sum := sha1.Sum([]byte(key + suffix))
	switch {
	case !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade"):
		return errors.New("websocket: the answer does not switch to websocket")
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("websocket: the answer has a wrong Sec-WebSocket-Accept")
	}
	return nil
}

// writeFrame writes one masked frame that is a whole message (RFC 6455, 5.2).
func writeFrame(w io.Writer, op byte, content []byte, mask [4]byte) error {
	b := []byte{0x80 | op}
	switch n := len(content); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, x := range content {
		b = append(b, x^mask[i%4])
	}
	_, err := w.Write(b)
	return err
}

// readFrame reads a frame as servers send it: not masked.
func readFrame(r *bufio.Reader) (op byte, final bool, content []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, false, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return 0, false, nil, errors.New("a frame with reserved bits, or masked by the server")
	}
	var long [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(r, long[6:])
		n = binary.BigEndian.Uint64(long[:])
	case 127:
		_, err = io.ReadFull(r, long[:])
		n = binary.BigEndian.Uint64(long[:])
	}
	if err == nil && n > maxFrame {
		err = fmt.Errorf("a frame of %d bytes", n)
	}
	if err != nil {
		return 0, false, nil, err
	}
	content = make([]byte, n)
	_, err = io.ReadFull(r, content)
	return head[0] & 0xf, head[0]&0x80 != 0, content, err
}

// readMessage reads one message, and answers what is between its frames.
func readMessage(r *bufio.Reader, w io.Writer, mask [4]byte) ([]byte, error) {
	var text bytes.Buffer
	for {
		op, final, content, err := readFrame(r)
		switch {
		case err != nil:
			return nil, err
		case op == opClose:
			return nil, fmt.Errorf("closed by the server: %s", closeReason(content))
		case op == opPing:
			if err := writeFrame(w, opPong, content, mask); err != nil {
				return nil, err
			}
			continue
		case op == opPong:
			continue
		case op > opBinary:
			return nil, fmt.Errorf("a frame of the unknown kind %d", op)
		}
		text.Write(content)
		if text.Len() > maxFrame {
			return nil, errors.New("a message that is too long")
		}
		if final {
			return text.Bytes(), nil
		}
	}
}

// goodbye ends the connection as RFC 6455, 7.1.2, has it: each side sends a close frame.
func goodbye(r *bufio.Reader, w io.Writer, mask [4]byte) error {
	if err := writeFrame(w, opClose, binary.BigEndian.AppendUint16(nil, 1000), mask); err != nil {
		return err
	}
	for {
		op, _, _, err := readFrame(r)
		if err != nil || op == opClose {
			return err
		}
	}
}

func closeReason(content []byte) string {
	if len(content) < 2 {
		return "without a reason"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", binary.BigEndian.Uint16(content), content[2:]))
}
