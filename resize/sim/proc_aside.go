package sim

import (
	"slices"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// unpark brings set-aside jobs back for the keys of a partition that ran low. It reports
// whether there are any.
func (k *limb) unpark() bool {
	wanted := k.lanes.Unparks()
	if len(wanted) == 0 {
		return false
	}
	t := wanted[0].Tenure
	var rest []*lanes.Lane
	wanted = slices.DeleteFunc(wanted, func(l *lanes.Lane) bool {
		if l.Tenure != t {
			rest = append(rest, l)
		}
		return l.Tenure != t
	})
	k.lanes.UnparkFailed(rest)
	k.unparked = true
	pages := make([]job.UnparkPage, len(wanted))
	k.ask("unpark", func() {
		room := pageSize // of all keys together, as bytes are
		for i, l := range wanted {
			pages[i] = k.store().unpark(k.inc, t.Partition, t.Epoch, l.Key, min(l.Asked(), room))
			room -= pages[i].Taken
		}
	}, func(answered bool) {
		for i, l := range wanted {
			switch {
			case !answered:
				k.lanes.UnparkFailed([]*lanes.Lane{l})
			case pages[i].Fenced:
				k.events = append(k.events, resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
			default:
				k.lanes.Unparked(l, pages[i], k.e.time())
			}
		}
		k.dispatch()
	})
	return true
}

// skim reads new jobs of partitions that have keys with jobs set aside.
func (k *limb) skim(asks []job.Skim) {
	k.skimmed = true
	k.lanes.ReadEnded()
	pages := make([]job.SkimPage, len(asks))
	k.ask("skim", func() {
		for i, a := range asks {
			pages[i] = k.store().skim(k.inc, a.Tenure.Partition, a.Tenure.Epoch, min(a.Room, pageSize), 2*pageSize)
		}
	}, func(answered bool) {
		for i, a := range asks {
			switch {
			case !answered:
				k.lanes.SkimFailed(a)
			case pages[i].Fenced:
				k.events = append(k.events, resize.PartitionFenced{Part: a.Tenure.Partition, Epoch: a.Tenure.Epoch})
			default:
				a.Room, a.Most = min(a.Room, pageSize), 2*pageSize
				k.lanes.Skimmed(a, &pages[i], k.e.time())
			}
		}
		k.dispatch()
	})
}
