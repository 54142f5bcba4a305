package doctor

import (
	"fmt"
	"testing"

	"ringmaster/job"
)

func entryID(n int) job.EntryID {
	id, _ := job.ParseEntryID(fmt.Sprintf("%d-0", n))
	return id
}

const openKey = "open" // of every open job here

// audited runs an audit of partition 3 over jobs 1..added.
func audited(added int64, top int, open []int, journal ...ended) AuditResult {
	a := newAudit(3, entryID(top), added)
	for _, n := range open {
		a.Open(entryID(n), openKey)
	}
	for _, e := range journal {
		a.Ended(e)
	}
	return a.Result()
}

func end(n int, key string) ended {
	return ended{JobID: fmt.Sprintf("3-%d-0", n), Key: key, Outcome: job.Done, Worker: "w.1", Epoch: 1}
}

func TestAudit(t *testing.T) {
	dead := end(2, "a")
	dead.Outcome = job.Buried
	failed := end(1, "a")
	failed.Outcome = job.Failed
	elsewhere := end(1, "a")
	elsewhere.JobID = "4-1-0"
	tests := map[string]struct {
		got, want AuditResult
	}{
		"nothing":                   {audited(0, 0, nil), AuditResult{}},
		"all ended":                 {audited(3, 3, nil, end(1, "a"), end(2, "b"), end(3, "a")), AuditResult{}},
		"some open":                 {audited(3, 3, []int{2, 3}, end(1, "a")), AuditResult{Open: 2}},
		"dead letters are ends":     {audited(2, 2, nil, end(1, "a"), dead), AuditResult{}},
		"failed attempts are not":   {audited(1, 1, []int{1}, failed), AuditResult{Open: 1}},
		"one is lost":               {audited(3, 3, nil, end(1, "a"), end(3, "a")), AuditResult{Lost: 1}},
		"open given twice":          {audited(1, 1, []int{1, 1}), AuditResult{Open: 1}},
		"ended after it was seen":   {audited(2, 2, []int{1, 2}, end(1, "a")), AuditResult{Open: 1}},
		"ended, above the look":     {audited(1, 1, nil, end(1, "a"), end(2, "a")), AuditResult{}},
		"ended three times":         {audited(1, 1, nil, end(1, ""), end(1, ""), end(1, "")), AuditResult{CompletedTwice: 2}},
		"completed and dead":        {audited(2, 2, nil, end(1, "b"), end(2, "a"), dead), AuditResult{CompletedTwice: 1}},
		"out of order":              {audited(2, 2, nil, end(2, "a"), end(1, "a")), AuditResult{OutOfOrder: 1}},
		"other keys have no order":  {audited(2, 2, nil, end(2, "a"), end(1, "b")), AuditResult{}},
		"no key has no order":       {audited(2, 2, nil, end(2, ""), end(1, "")), AuditResult{}},
		"of another partition":      {audited(0, 0, nil, elsewhere), AuditResult{CompletedTwice: 1}},
		"nobody counted":            {audited(-1, 3, []int{3}, end(1, "a")), AuditResult{Open: 1}},
		"the stream was made again": {audited(1, 9, []int{9}, end(1, "a"), end(2, "a")), AuditResult{Open: 1, Uncounted: 1}},
		"overtaken while open":      {audited(2, 2, []int{1}, end(2, openKey)), AuditResult{OutOfOrder: 1, Open: 1}},
		"open, and ended later":     {audited(2, 2, []int{1, 2}, end(1, openKey), end(2, openKey)), AuditResult{}},
		"open behind its key's end": {audited(2, 2, []int{2}, end(1, openKey)), AuditResult{Open: 1}},
	}
	for name, tt := range tests {
		wrong := len(tt.got.Examples)
		tt.got.Examples = nil
		if fmt.Sprint(tt.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %+v, want %+v", name, tt.got, tt.want)
		}
		if tt.got.Good() == (wrong > 0) {
			t.Errorf("%s: good is %v with %d examples", name, tt.got.Good(), wrong)
		}
	}
}

func TestAuditResultsAddUp(t *testing.T) {
	sum := AuditResult{}
	for range 20 {
		sum.Add(audited(2, 2, nil, end(2, "a"), end(1, "a"), end(1, "a")))
	}
	if sum.OutOfOrder != 40 || sum.CompletedTwice != 20 || sum.Lost != 0 || len(sum.Examples) != maxExamples {
		t.Errorf("%+v", sum)
	}
}
