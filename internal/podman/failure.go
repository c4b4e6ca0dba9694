package podman

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A Failure is a build that broke off because of what it was to build.
type Failure struct {
	Packages  []FailedPackage
	Reasons   []string // what Spack says, where no package is to blame: why there is no solution
	Last      []string // lines of the log, where Spack says nothing either
	Log       string   // where all of it lies
	Reproduce string   // a command that leads into a shell in which to look
}

// A FailedPackage is a package that could not be built, with the end of its own log.
type FailedPackage struct {
	Name string
	Hash string
	Tail []string
}

func (f *Failure) Error() string {
	var b strings.Builder
	switch {
	case len(f.Packages) > 0:
	case len(f.Reasons) > 0:
		b.WriteString("Spack gives up: " + strings.Join(f.Reasons, "\n\t"))
	default:
		b.WriteString("podman build failed")
		for _, line := range f.Last {
			b.WriteString("\n\t" + line)
		}
	}
	for i, p := range f.Packages {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "package %s failed", p.Name)
		for _, line := range p.Tail {
			b.WriteString("\n\t" + line)
		}
	}
	fmt.Fprintf(&b, "\nall of it: %s", f.Log)
	if f.Reproduce != "" {
		fmt.Fprintf(&b, "\nin a shell: %s", f.Reproduce)
	}
	return b.String()
}

// explain says why a build failed: the host, or which packages.
func (e Engine) explain(ctx context.Context, c Container, dir, log string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if down := e.Podman.ping(ctx); down != nil {
		return &HostError{Host: e.Host, Err: down}
	}
	f, readErr := readFailure(log)
	if readErr != nil {
		return err
	}
	if hostTrouble(f.Last) {
		return &HostError{Host: e.Host, Err: err}
	}
	f.Log = log
	if len(f.Packages) > 0 {
		f.Reproduce = e.reproduce(c, dir, f.Packages[0])
	}
	return f
}

// reproduce is the command line of a shell in the builder, in the environment in which Spack builds
// the package. Another machine sees none of our folders, and where no container can be started
// there is no such shell. Credentials are the caller's.
func (e Engine) reproduce(c Container, dir string, p FailedPackage) string {
	abs, err := filepath.Abs(dir)
	if err != nil || e.Podman.URL != "" || e.Podman.Chroot {
		return ""
	}
	args := []string{"run", "--rm", "--interactive", "--tty", "--network=host", "--volume=" + abs + ":/context:ro"}
	args = append(args, mirrorArgs(c.Mirror)...)
	argv := e.Podman.command(append(args, string(e.Builder.ID), "spacktainers", "reproduce", p.Hash)...).Args
	return strings.Join(append(e.Podman.Env, command.Quote(argv)), " ")
}

// hostTrouble reports whether a log ends in what no container is to blame for.
func hostTrouble(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, "no space left on device") || strings.Contains(line, "exec format error") || strings.Contains(line, "Exec format error") {
			return true
		}
	}
	return false
}

// How the builder marks what failed.
const (
	markFailed = "spacktainers: failed: "
	markLine   = "spacktainers: | "
)

// readFailure reads a build's log for the packages that failed.
func readFailure(path string) (*Failure, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f := &Failure{}
	reasons := false
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		reasons = f.reason(line, reasons)
		if name, ok := strings.CutPrefix(line, markFailed); ok {
			f.Packages = append(f.Packages, failedPackage(name))
		} else if tail, ok := strings.CutPrefix(line, strings.TrimRight(markLine, " ")); ok && len(f.Packages) > 0 {
			last := &f.Packages[len(f.Packages)-1]
			last.Tail = append(last.Tail, strings.TrimPrefix(tail, " "))
		} else if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "+ ") {
			f.Last = append(f.Last, line)
			f.Last = f.Last[max(0, len(f.Last)-15):]
		}
	}
	return f, lines.Err()
}

// markError is how Spack begins to say why it ends.
const markError = "==> Error: "

// maxReasons bounds how many lines of reasons are shown. Real ones have some ten.
const maxReasons = 40

// reason takes a line of the log if it is one of Spack's reasons, and reports whether the next one
// may go on with them.
func (f *Failure) reason(line string, before bool) bool {
	first, begins := strings.CutPrefix(line, markError)
	switch {
	case begins:
		line = first
	case !before, strings.HasPrefix(line, "==> "), strings.HasPrefix(line, "spacktainers: "), strings.HasPrefix(line, "Error: "), strings.HasPrefix(line, "Traceback "):
		return false
	}
	if strings.TrimSpace(line) != "" && len(f.Reasons) < maxReasons {
		f.Reasons = append(f.Reasons, strings.TrimSpace(line))
	}
	return true
}

// failedPackage splits name-version-hash.
func failedPackage(label string) FailedPackage {
	at := strings.LastIndex(label, "-")
	if at < 0 {
		return FailedPackage{Name: label}
	}
	return FailedPackage{Name: label[:at], Hash: label[at+1:]}
}
