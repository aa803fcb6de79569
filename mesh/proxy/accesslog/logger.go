package accesslog

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Open opens the file that a log goes to. What it returns must take concurrent
// writes, each a whole line.
type Open func(path string) (io.Writer, error)

// Files opens files of the operating system for appending; /dev/stdout and
// /dev/stderr are the process's own.
func Files(path string) (io.Writer, error) {
	switch path {
	case "/dev/stdout":
		return os.Stdout, nil
	case "/dev/stderr":
		return os.Stderr, nil
	default:
		return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
}

// Logger writes the logs that a listener or connection manager is configured with.
type Logger struct {
	logs    []fileLog
	buffers sync.Pool
}

type fileLog struct {
	out    io.Writer
	append func(dst []byte, x *Exchange) []byte
	filter filter // nil: it takes everything
}

// NewLogger compiles formats and opens files.
func NewLogger(logs []snapshot.AccessLog, open Open) (*Logger, error) {
	l := &Logger{buffers: sync.Pool{New: func() any { return new([]byte) }}}
	for _, c := range logs {
		log, err := newFileLog(c, open)
		if err != nil {
			return nil, fmt.Errorf("access log %s: %w", c.Path, err)
		}
		l.logs = append(l.logs, log)
	}
	return l, nil
}

func newFileLog(c snapshot.AccessLog, open Open) (fileLog, error) {
	var log fileLog
	if len(c.JSON) > 0 {
		j, err := CompileJSON(c.JSON, c.OmitEmpty)
		if err != nil {
			return log, err
		}
		log.append = j.Append
	} else {
		format := c.Format
		if format == "" {
			format = DefaultFormat
		}
		f, err := CompileFormat(format)
		if err != nil {
			return log, err
		}
		if log.append = f.Append; c.OmitEmpty {
			log.append = f.AppendHeader
		}
	}
	if c.Filter != nil {
		var err error
		if log.filter, err = newFilter(c.Filter); err != nil {
			return log, err
		}
	}
	out, err := open(c.Path)
	log.out = out
	return log, err
}

// Log writes a finished exchange to every log whose filter takes it, one write
// each. A log that cannot be written loses lines, not requests.
func (l *Logger) Log(x *Exchange) {
	for i := range l.logs {
		log := &l.logs[i]
		if log.filter != nil && !log.filter(x) {
			continue
		}
		buf := l.buffers.Get().(*[]byte)
		*buf = log.append((*buf)[:0], x)
		_, _ = log.out.Write(*buf)
		l.buffers.Put(buf)
	}
}
