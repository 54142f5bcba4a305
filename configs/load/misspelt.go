package load

import (
	"maps"
	"slices"
	"strings"

	"ringmaster/configs"
)

// Variables that Ringmaster sets for a command: a program that is run by one has them too.
func ofJobs() []string {
	return []string{"JOB_ID", "JOB_KEY", "JOB_TYPE", "QUEUE", "PARTITION", "ATTEMPT", "FENCE"}
}

// misspelt warns of variables that are no setting's and much like one: they have no effect. Others are
// other programs' business.
func (l *loading) misspelt() {
	var known []string
	for _, p := range programs() {
		for _, f := range p.settings.Fields() {
			known = append(known, strings.TrimPrefix(f.EnvName(), configs.EnvPrefix))
		}
	}
	ours := ofJobs()
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		given := strings.TrimPrefix(name, configs.EnvPrefix)
		if l.env[name] == "" || slices.Contains(known, given) || slices.Contains(ours, given) && l.env[configs.EnvPrefix+ours[0]] != "" {
			continue
		}
		if near := nearest(given, known); distance(given, near) <= max(1, len(given)/4) {
			l.Warn("the variable %s has no effect: did you mean %s?", name, configs.EnvPrefix+near)
		}
	}
}
