package load

import (
	"slices"

	"ringmaster/configs"
)

// allKeys are the keys that a file may have: one file may serve all three programs.
func allKeys() []string {
	var keys []string
	for _, p := range programs() {
		for _, f := range p.settings.Fields() {
			if !f.Secret && !slices.Contains(keys, f.Key) {
				keys = append(keys, f.Key)
			}
		}
	}
	return append(keys, "handlers")
}

func secretKeys() []string {
	var keys []string
	for _, p := range programs() {
		for _, f := range p.settings.Fields() {
			if f.Secret && !slices.Contains(keys, f.Key) {
				keys = append(keys, f.Key)
			}
		}
	}
	return keys
}

type program struct {
	name     string
	settings configs.Settings
}

// programs is a fresh set of defaults for each program.
func programs() []program {
	d, w, r := configs.DefaultDispatcher(), configs.DefaultWorker(), configs.DefaultRingctl()
	return []program{{"dispatcher", &d}, {"worker", &w}, {"ringctl", &r}}
}
