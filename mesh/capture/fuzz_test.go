package capture

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzParseArgs: whatever is read can be written, read again, and makes rules.
func FuzzParseArgs(f *testing.F) {
	f.Add(strings.Join(Defaults().Args(), "\n"))
	f.Add("-i\n10.0.0.1,fd00::/8\n-b\n80, 81\n-c\nnet1,net2\n-o\n1,1")
	f.Add("-x=::ffff:1.2.3.4/128")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseArgs(strings.Split(text, "\n"))
		if err != nil {
			return
		}
		again, err := ParseArgs(o.Args())
		if err != nil || !reflect.DeepEqual(o, again) {
			t.Fatalf("%q: %+v becomes %+v, %v", text, o, again, err)
		}
		if _, err := New(o); err != nil {
			t.Fatal(err)
		}
	})
}
