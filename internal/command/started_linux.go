package command

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticks is how many of the units a second has in which proc(5) tells when a process started: 100 on
// every architecture, whatever the kernel counts in.
const ticks = 100

// Started returns when the processes of some programs were started that are at work now, as far as
// this process can see them. known is false where that cannot be told.
func Started(programs ...string) (at []time.Time, known bool) {
	boot, err := bootTime()
	if err != nil {
		return nil, false
	}
	for _, p := range processes() {
		if p.dead {
			continue
		}
		name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "comm"))
		if err != nil || !slices.Contains(programs, string(bytes.TrimSpace(name))) {
			continue // it has ended, or is another program
		}
		since, err := strconv.ParseInt(p.start, 10, 64)
		if err != nil {
			return nil, false
		}
		at = append(at, boot.Add(time.Duration(since)*(time.Second/ticks)))
	}
	return at, true
}

func bootTime() (time.Time, error) {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			seconds, err := strconv.ParseInt(text, 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, os.ErrNotExist
}
