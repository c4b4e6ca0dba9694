package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Figures are what one process took.
type Figures struct {
	Step   string `json:"step"`
	Specs  int    `json:"specs"`
	Layout int    `json:"layout,omitempty"`

	Wall float64 `json:"wall_seconds"`
	CPU  float64 `json:"cpu_seconds"` // user and system
	Peak int64   `json:"peak_bytes"`  // resident; 0 is not known on this system

	Requests map[string]int `json:"requests"` // by kind
	Total    int            `json:"requests_total"`
	In       int64          `json:"bytes_in"`
	Out      int64          `json:"bytes_out"`
	Objects  int            `json:"objects,omitempty"` // listed or deleted
	Gone     int            `json:"specs_gone,omitempty"`

	Least     int     `json:"requests_least,omitempty"`         // the fewest requests that would do
	WallRatio float64 `json:"wall_of_list_and_index,omitempty"` // as a multiple
	CPURatio  float64 `json:"cpu_of_list_and_index,omitempty"`  // as a multiple
	Ours      *Ratios `json:"as_multiples_of_prune,omitempty"`  // for what others do
}

// Ratios compare what others do with a prune of ours.
type Ratios struct {
	Requests float64 `json:"requests"`
	Wall     float64 `json:"wall"`
	CPU      float64 `json:"cpu"`
	Peak     float64 `json:"peak"`
}

// kinds are the columns of the table.
var kinds = []string{"LIST", "GET", "HEAD", "PUT", "COPY", "DELETE"}

func table(to io.Writer, all []*Figures) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "specs\tlayout\tstep\twall s\tCPU s\tpeak MB\trequests\t"+strings.Join(kinds, "\t")+"\tleast\tMB in\tMB out\twall/floor\tCPU/floor\t")
	for _, f := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%.2f\t%.2f\t%s\t%s\t", f.Specs, dash(f.Layout), f.Step, f.Wall, f.CPU, dash(int(f.Peak/1e6)), dash(f.Total))
		for _, k := range kinds {
			fmt.Fprintf(w, "%s\t", dash(f.Requests[k]))
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%s\t%s\t\n", dash(f.Least), float64(f.In)/1e6, float64(f.Out)/1e6, times(f.WallRatio), times(f.CPURatio))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range all {
		if r := f.Ours; r != nil {
			fmt.Fprintf(to, "%s, %d specs, as a multiple of our prune: %.0f times the requests, %.1f times the wall time, %.1f times the CPU time, %.1f times the memory\n",
				f.Step, f.Specs, r.Requests, r.Wall, r.CPU, r.Peak)
		}
	}
	return nil
}

func dash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func times(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", x)
}
