package bench

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// describe is the machine as it is now. What the system does not tell is left out.
func describe(pinned bool) result.Machine {
	m := result.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Pinned: pinned}
	m.Kernel = line("/proc/sys/kernel/osrelease")
	m.CPU = field("/proc/cpuinfo", "model name")
	m.Governor = line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	m.VirtualMemory = line("/sys/kernel/mm/transparent_hugepage/enabled")
	if kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kib << 10
	}
	if load, _, ok := strings.Cut(line("/proc/loadavg"), " "); ok {
		m.LoadAverage, _ = strconv.ParseFloat(load, 64) // 0 where it is no number
	}
	if m.LoadAverage > 0.5*float64(m.Cores) {
		m.Notes = append(m.Notes, fmt.Sprintf("the machine was busy when this began: load average %.1f on %d cores", m.LoadAverage, m.Cores))
	}
	if why := withoutInstructions(); why != "" {
		m.Notes = append(m.Notes, why)
	}
	if m.Cores < 2 {
		m.Notes = append(m.Notes, "one core: the load and the proxies take it from each other")
	}
	return m
}

func line(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(first)
}

// field is the value of the first "name : value" line.
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// OpenBuild looks at a folder of programs.
func OpenBuild(name, dir string) (Build, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Build{}, err
	}
	b := Build{Name: name, Dir: dir}
	program := b.meshproxy()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return b, fmt.Errorf("%s: %w; `make build` makes it", program, err)
	}
	b.Go = info.GoVersion
	b.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	if b.Commit == "" { // Go stamps nothing in a worktree; the Makefile does, everywhere
		if out, err := exec.Command(filepath.Join(dir, "windtunnel"), "version").Output(); err == nil {
			b.described(string(out))
		}
	}
	return b, nil
}

// description is what `windtunnel version` says of a build that the Makefile made: git's
// describe, of a tag and commits since, or of a commit alone.
var description = regexp.MustCompile(`^windtunnel (\S+?)(-dirty)? \(`)

var abbreviated = regexp.MustCompile(`(?:^|-g)([0-9a-f]{7,40})$`)

func (b *Build) described(text string) {
	m := description.FindStringSubmatch(text)
	if m == nil || m[1] == "devel" {
		return
	}
	b.Version, b.Dirty = m[1], m[2] != ""
	if commit := abbreviated.FindStringSubmatch(m[1]); commit != nil {
		b.Commit = commit[1]
	}
}

func (b Build) meshproxy() string { return filepath.Join(b.Dir, "meshproxy") }
