package store

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// FolderOptions for NewFolder.
type FolderOptions struct {
	// Interval is how often the folder is looked at; one second where it is 0.
	Interval time.Duration
	// OnDiagnostics gets all findings about the folder, sorted by file, when it was
	// first read (before NewFolder returns) and whenever a file has changed since.
	// It is called by one goroutine at a time, and may be nil.
	OnDiagnostics func([]config.Diagnostic)
}

// Folder is a Source that holds the objects of a folder's files: *.yaml, *.yml and
// *.json, at any depth, in the order of their paths. Names that begin with a dot are
// left out (a mounted ConfigMap keeps its versions under such names).
//
// It looks at the files' sizes and times at an interval, which works on every file
// system (network mounts and ConfigMaps, too), and reads those that changed, once
// nobody is writing to them any more: many an editor empties a file first. A file
// with an error keeps what it had when it was last without. Where two files have an
// object with the same key, the later file's counts, and that is a warning.
type Folder struct {
	*Memory
	dir     string
	o       FolderOptions
	files   map[string]*file
	objects map[config.Key]bool // what the store has
	problem string              // the last error of reading the folder
	done    chan struct{}
}

// file is what is known of one file.
type file struct {
	stamp
	recent  bool // read so soon after its change that another may have the same time
	data    string
	failed  bool             // it could not be read; data and objects are those from before
	objects []*config.Object // of the last version without errors
	diags   []config.Diagnostic
}

// NewFolder reads a folder and watches it until the context ends. It fails where the
// folder cannot be read; errors within files are for OnDiagnostics.
func NewFolder(ctx context.Context, dir string, o FolderOptions) (*Folder, error) {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	f := &Folder{Memory: NewMemory(MemoryOptions{}), dir: dir, o: o, files: make(map[string]*file), done: make(chan struct{})}
	now, err := stamps(dir)
	if err != nil {
		return nil, fmt.Errorf("read configuration folder %s: %w", dir, err)
	}
	f.read(now)
	f.publish()
	go f.watch(ctx)
	return f, nil
}

// Done is closed when the folder is no longer watched.
func (f *Folder) Done() <-chan struct{} { return f.done }

func (f *Folder) watch(ctx context.Context) {
	defer close(f.done)
	ticker := time.NewTicker(f.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := f.calm(ctx)
		problem, changed := "", false
		if err != nil {
			problem = err.Error()
		} else {
			changed = f.read(now)
		}
		if changed || problem != f.problem {
			f.problem = problem
			f.publish()
		}
	}
}

// settling is how long the files have to be the same before a change is taken for whole.
const settling = 50 * time.Millisecond

// calm looks at the files: once where none has changed since it was read, and otherwise
// until none changes any more.
func (f *Folder) calm(ctx context.Context) (map[string]stamp, error) {
	last := make(map[string]stamp, len(f.files))
	for path, known := range f.files {
		last[path] = known.stamp
	}
	for {
		now, err := stamps(f.dir)
		if err != nil || maps.Equal(now, last) && !f.emptied(now) {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return now, nil
		case <-time.After(settling):
		}
	}
}

// emptied reports whether a file has lost all it had within the last second: as good
// as always, somebody is about to write it anew.
func (f *Folder) emptied(now map[string]stamp) bool {
	for path, s := range now {
		if known := f.files[path]; known != nil && known.size > 0 && s.size == 0 && time.Since(time.Unix(0, s.changed)) < time.Second {
			return true
		}
	}
	return false
}

// stamp is what tells versions of a file apart without reading it: its size, and the
// nanosecond when it was written to.
type stamp struct{ size, changed int64 }

func stamps(dir string) (map[string]stamp, error) {
	paths, err := list(dir)
	found := make(map[string]stamp, len(paths))
	for _, path := range paths {
		if s, ok := stampOf(path); ok {
			found[path] = s
		}
	}
	return found, err
}

// stampOf is false for a file that is gone. A link that leads nowhere is not: reading it
// says what is wrong.
func stampOf(path string) (stamp, bool) {
	info, err := os.Stat(path)
	if err != nil {
		_, err = os.Lstat(path)
		return stamp{}, !os.IsNotExist(err)
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, true
}

// read brings the files up to date with what they looked like a moment ago, and
// reports whether one has changed.
func (f *Folder) read(now map[string]stamp) (changed bool) {
	for path, s := range now {
		if f.refresh(path, s) {
			changed = true
		}
	}
	for path := range f.files {
		if _, present := now[path]; !present {
			delete(f.files, path)
			changed = true
		}
	}
	return changed
}

// list returns the paths of a folder's files, sorted.
func list(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if path != dir && os.IsNotExist(err) {
				return nil // gone between listing and reading
			}
			return err
		}
		if path != dir && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".yaml", ".yml", ".json":
			if !entry.IsDir() {
				paths = append(paths, path)
			}
		}
		return nil
	})
	slices.Sort(paths)
	return paths, err
}

// refresh reads a file that looks changed, and reports whether it was. One that is
// written to meanwhile stays what it was: the next look finds it again.
func (f *Folder) refresh(path string, s stamp) bool {
	old := f.files[path]
	if old != nil && !old.recent && old.stamp == s {
		return false
	}
	data, err := source.Read(path)
	if after, present := stampOf(path); !present || after != s {
		return false
	}
	if err != nil {
		return f.unreadable(path, old, s, err)
	}
	recent := time.Since(time.Unix(0, s.changed)) < 2*time.Second
	now := &file{stamp: s, recent: recent, data: string(data)}
	f.files[path] = now
	if old != nil && !old.failed && old.data == now.data {
		now.objects, now.diags = old.objects, old.diags
		return false
	}
	now.objects, now.diags = config.Decode(path, 1, data)
	if old != nil && slices.ContainsFunc(now.diags, func(d config.Diagnostic) bool { return d.Severity == config.Error }) {
		now.objects = old.objects
	}
	return true
}

// unreadable notes a file that is there and cannot be read.
func (f *Folder) unreadable(path string, old *file, s stamp, err error) bool {
	d := config.Diagnostic{Severity: config.Error, Code: config.CodeUnreadable, Message: err.Error(), Position: config.Position{File: path}}
	now := &file{stamp: s, recent: true, failed: true, diags: []config.Diagnostic{d}}
	if old != nil {
		now.objects, now.data = old.objects, old.data
	}
	f.files[path] = now
	return old == nil || !old.failed || old.diags[0] != d
}

// publish makes the store hold what the files have, and tells what is wrong with them.
func (f *Folder) publish() {
	var (
		diags []config.Diagnostic
		order []config.Key
		found = make(map[config.Key]*config.Object)
	)
	if f.problem != "" {
		diags = append(diags, config.Diagnostic{Severity: config.Error, Code: config.CodeUnreadable, Message: f.problem, Position: config.Position{File: f.dir}})
	}
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		diags = append(diags, f.files[path].diags...)
		for _, o := range f.files[path].objects {
			k := o.Key()
			if earlier := found[k]; earlier != nil {
				diags = append(diags, o.Diagnose(config.Warning, config.CodeDuplicate, "kind",
					fmt.Sprintf("%s stands twice; this one replaces the one at %s", k, earlier.Position()), ""))
			} else {
				order = append(order, k)
			}
			found[k] = o
		}
	}
	apply := make([]*config.Object, len(order))
	for i, k := range order {
		apply[i] = found[k]
	}
	var remove []config.Key
	for k := range f.objects {
		if found[k] == nil {
			remove = append(remove, k)
		}
	}
	slices.SortFunc(remove, func(a, b config.Key) int { return cmp.Compare(a.String(), b.String()) })
	f.objects = make(map[config.Key]bool, len(found))
	for k := range found {
		f.objects[k] = true
	}
	f.update(apply, remove, equalInPlace)
	if f.o.OnDiagnostics != nil {
		f.o.OnDiagnostics(diags)
	}
}
