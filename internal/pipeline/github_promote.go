package pipeline

import "fmt"

// promoting adds the jobs that promote containers from one environment to the next. GitHub lets a
// job wait for a whole matrix and not for one of its legs: so legs leave a note when they are done,
// and between two matrices a job makes the second one of the notes. What failed or was left out stops
// itself and nothing else.
func (h GitHub) promoting(all workflowJobs, s scope) workflowJobs {
	for i := 1; i <= h.chunks(); i++ {
		before := fmt.Sprintf("publish-%d", i)
		for e := 1; e < len(h.Environments); e++ {
			from, to := h.Environments[e-1], h.Environments[e]
			noted := h.notedJob(before, fmt.Sprintf("for-%s-%d", to, i))
			promote := h.promoteJob(s, noted.id, fmt.Sprintf("promote-%s-%d", to, i), from, to)
			if e+1 < len(h.Environments) {
				promote.Steps = append(promote.Steps, done(promote.id)...)
			}
			all, before = append(all, noted, promote), promote.id
		}
	}
	return all
}

// done notes that a leg of a job is done, with all that the next one is told of it.
func done(id string) []step {
	return []step{
		{Name: "Note that it is done", Env: map[string]string{"LEG": "${{ toJSON(matrix) }}", "CONTAINER": "${{ matrix.container }}"},
			Run: "mkdir -p out/done\nprintf '%s' \"$LEG\" | tr -d '\\n' >\"out/done/$CONTAINER\"\n"},
		{Name: "Hand over", Uses: uploadAction, With: map[string]any{"name": "done@" + id + "@${{ matrix.container }}", "path": "out/done", "retention-days": 1, "overwrite": true}},
	}
}

// notedJob makes a matrix of the legs of a job that are done.
func (h GitHub) notedJob(of, id string) workflowJob {
	return workflowJob{id: id, Name: "what is done of " + of, Needs: []string{"plan", of}, RunsOn: h.runsOn(id), Permissions: map[string]string{}, Timeout: 30,
		If:      "${{ !cancelled() && needs." + of + ".result != 'skipped' }}",
		Outputs: map[string]string{"legs": "${{ steps.legs.outputs.legs }}"},
		Steps: []step{
			{Name: "Take over", Uses: downloadAction, With: map[string]any{"pattern": "done@" + of + "@*", "path": "out/done", "merge-multiple": true}},
			{ID: "legs", Name: "Make a matrix", Run: `mkdir -p out/done
legs=$(for leg in out/done/*; do [ ! -e "$leg" ] || { cat "$leg"; echo; }; done | paste -s -d, -)
echo "legs=${legs:+{\"include\":[$legs]\}}" >>"$GITHUB_OUTPUT"
`},
		}}
}

// promoteJob copies what was published to the registries of the next environment, by digest. The
// environment's own rules, such as reviewers, are GitHub's.
func (h GitHub) promoteJob(s scope, noted, id, from, to string) workflowJob {
	legs := "needs." + noted + ".outputs.legs"
	return workflowJob{id: id, Name: "promote to " + to + " ${{ matrix.name }}", Needs: []string{noted}, RunsOn: h.runsOn("promote-" + to + "-${{ strategy.job-index }}"),
		If:          "${{ !cancelled() && needs." + noted + ".result == 'success' && " + legs + " != '' }}",
		Environment: to, Permissions: h.permissions(s, true), Timeout: 120, Env: s.send,
		Strategy: &strategy{Matrix: "${{ fromJSON(" + legs + " || '{}') }}"},
		Steps:    append(h.begin(true), step{Name: "Promote", Env: legEnv("CONTAINER"), Run: h.call(`publish:promote "$CONTAINER" --from=` + from + " --to=" + to)})}
}
