package sif

import (
	"bytes"
	"io"
	"regexp"
	"unicode"
)

// A stepWriter takes what apptainer says while it builds: what it is about to do goes to step, the
// rest to the log.
type stepWriter struct {
	log  io.Writer
	step func(string)
	rest []byte
}

// aboutTo is how apptainer and singularity announce a step: "INFO:    Creating SIF file...".
var aboutTo = regexp.MustCompile(`^(?:\x1b\[\d+m)?INFO:\s+(?:\x1b\[0m)?\s*([A-Z][^:]*)\.\.\.\s*$`)

// Write satisfies io.Writer.
func (w *stepWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		if step := aboutTo.FindSubmatch(w.rest[:end]); step != nil {
			first, others := rune(step[1][0]), string(step[1][1:])
			w.step(string(unicode.ToLower(first)) + others)
		} else if _, err := w.log.Write(w.rest[:end+1]); err != nil {
			return 0, err
		}
		w.rest = w.rest[end+1:]
	}
}

// Close writes what stood in no whole line.
func (w *stepWriter) Close() error {
	_, err := w.log.Write(w.rest)
	w.rest = nil
	return err
}
