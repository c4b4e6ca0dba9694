package targets

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openbraininstitute/spacktainers/janitor"
)

// janitorMetrics are what a monitor is told of one run of the janitor: gauges by mirror, in a file
// that node_exporter's textfile collector reads. They are written also where the run fails. A nil
// *janitorMetrics keeps nothing.
type janitorMetrics struct {
	path, command string
	registry      *prometheus.Registry
	gauges        map[string]*prometheus.GaugeVec
}

// newJanitorMetrics is for the file of a flag; nil where that is not given.
func newJanitorMetrics(path *string, command string) *janitorMetrics {
	if path == nil {
		return nil
	}
	return &janitorMetrics{*path, command, prometheus.NewRegistry(), map[string]*prometheus.GaugeVec{}}
}

// set sets a gauge of a mirror.
func (m *janitorMetrics) set(mirror, name, help string, value float64) {
	gauge := m.gauges[name]
	if gauge == nil {
		gauge = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "spacktainers", Name: name, Help: help}, []string{"mirror", "command"})
		m.registry.MustRegister(gauge)
		m.gauges[name] = gauge
	}
	gauge.WithLabelValues(mirror, m.command).Set(value)
}

func (m *janitorMetrics) totals(mirror, name, what string, t janitor.Totals) {
	m.set(mirror, name+"_specs", "Specs "+what+".", float64(t.Specs))
	m.set(mirror, name+"_objects", "Objects "+what+".", float64(t.Objects))
	m.set(mirror, name+"_bytes", "Bytes "+what+".", float64(t.Bytes))
}

// begin returns what is to be called with the result for a mirror.
func (m *janitorMetrics) begin(mirror string) (ended func(error)) {
	if m == nil {
		return func(error) {}
	}
	began := time.Now()
	return func(err error) {
		success := 1.0
		if err != nil {
			success = 0
		}
		m.set(mirror, "janitor_success", "Whether the run did all that it was to do: 1 or 0.", success)
		m.set(mirror, "janitor_ended_timestamp_seconds", "When the run ended.", float64(time.Now().Unix()))
		m.set(mirror, "janitor_duration_seconds", "How long the run took.", time.Since(began).Seconds())
	}
}

// planned tells what a plan found, and what it would do.
func (m *janitorMetrics) planned(mirror string, plan *janitor.Plan) {
	if m == nil {
		return
	}
	m.totals(mirror, "buildcache", "in the build cache before the run", plan.Before)
	m.totals(mirror, "condemned", "that are condemned, with those that are due", plan.Room)
	m.totals(mirror, "due", "that the plan deletes", plan.Due)
	stopped := 0.0
	if plan.Refused != "" || plan.Brake != "" {
		stopped = 1
	}
	m.set(mirror, "janitor_stopped", "Whether the plan is refused, or condemns nothing new: 1 or 0.", stopped)
	m.set(mirror, "buildcache_damaged", "Packages that cannot be read or lack an object.", float64(len(plan.Damage)))
}

// applied tells what a run has done.
func (m *janitorMetrics) applied(mirror string, result janitor.Result) {
	if m == nil {
		return
	}
	m.totals(mirror, "deleted", "that the run deleted", janitor.Totals{Specs: result.Specs, Objects: result.Objects, Bytes: result.Bytes})
	m.set(mirror, "newly_condemned_specs", "Specs that the run condemned.", float64(result.Condemned))
	m.set(mirror, "saved_specs", "Condemned specs that are needed again.", float64(result.Back))
	m.set(mirror, "failed_objects", "Objects that were to be deleted and could not be.", float64(len(result.Failed)))
}

// reported tells what a report says.
func (m *janitorMetrics) reported(r reported) {
	if m == nil {
		return
	}
	m.totals(r.Mirror, "buildcache", "in the build cache before the run", r.Totals)
	m.set(r.Mirror, "orphans_objects", "Objects that belong to no package.", float64(r.Orphans.Objects))
	m.set(r.Mirror, "orphans_bytes", "Bytes of objects that belong to no package.", float64(r.Orphans.Bytes))
	m.set(r.Mirror, "unindexed_specs", "Specs that are in no index.", float64(len(r.Unindexed)))
	m.set(r.Mirror, "buildcache_damaged", "Packages that cannot be read or lack an object.", float64(r.Damaged))
	if r.Condemned != nil {
		m.totals(r.Mirror, "condemned", "that are condemned, with those that are due", *r.Condemned)
	}
	if r.Due != nil {
		m.totals(r.Mirror, "due", "that the plan deletes", *r.Due)
	}
}

// write puts the file in place, whole or not at all.
func (m *janitorMetrics) write() error {
	if m == nil {
		return nil
	}
	if err := prometheus.WriteToTextfile(m.path, m.registry); err != nil {
		return fmt.Errorf("--metrics: %w", err)
	}
	return nil
}
