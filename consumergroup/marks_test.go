package consumergroup

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

func suspect(n int, key, how string) job.Entry {
	e := entry(n, key)
	e.Retry = how
	return e
}

func TestAMarkThatCannotBeWrittenStartsNothing(t *testing.T) {
	for _, how := range []string{"apart", "weigh"} {
		b := newBench(t, nil)
		b.arrive(suspect(1, "c", how), entry(2, "c"))
		b.fake.markErr = job.ErrUnavailable
		b.run(b.mustStart(1))
		if n := b.w.pool.Runs(); n != 0 {
			t.Fatalf("%d runs", n)
		}
		b.mustNotStart() // tried again later, not in a hot loop; and its successor waits
	}
}

// An executor that waits is woken when the last job beside a suspect has ended.
func TestASuspectWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "a"))
		one := b.mustStart(1)
		b.arrive(suspect(2, "c", "apart"), entry(3, "d"))
		got := make(chan *lanes.Item, 1)
		executor := func() { got <- b.w.next(nil, job.Completion{}) }
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("the suspect started beside another")
		}
		b.complete(one)
		synctest.Wait()
		s := <-got
		if s.Entry.ID != eid(2) {
			t.Fatalf("started %v", describe(s))
		}
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("something started beside the suspect")
		}
		b.complete(s)
		synctest.Wait()
		b.complete(<-got)
	})
}

// Executors that wait for a suspect go on when its time is over, whatever runs then.
func TestWhoWaitsForASuspectGoesOnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		done := make(chan struct{})
		go b.w.ringAlarms(done)
		defer close(done)
		b.arrive(entry(1, "long"))
		b.mustStart(1)
		b.arrive(suspect(2, "c", "apart"), entry(3, "d"), entry(4, "e"))
		began, got := time.Now(), make(chan *lanes.Item, 3)
		for range 3 {
			go func() { got <- b.w.next(nil, job.Completion{}) }()
		}
		s := <-got
		if s.Entry.ID != eid(2) || time.Since(began) != time.Second {
			t.Fatalf("started %v after %v", describe(s), time.Since(began))
		}
		if err := b.w.mark(s); err != nil {
			t.Fatal(err)
		}
		<-got
		<-got
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the others went on after %v", took)
		}
		if want := []string{"2 2 1s"}; !slices.Equal(b.fake.marks, want) {
			t.Errorf("marks %q, want %q", b.fake.marks, want)
		}
	})
}

// A mark that took so long that others may have started says nothing of being apart, and no more
// does one in a process that runs other queues.
func TestAMarkSaysWhoMayRunBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Elsewhere = 16 })
		b.arrive(suspect(1, "c", "apart"))
		b.fake.onMark = func() {
			b.fake.onMark = nil
			<-time.After(3 * time.Second) // the server is slow
		}
		if err := b.w.mark(b.mustStart(1)); err != nil {
			t.Fatal(err)
		}
		if want := []string{"1 17 1s", "1 0 0s"}; !slices.Equal(b.fake.marks, want) {
			t.Errorf("marks %q, want %q", b.fake.marks, want)
		}
	})
}

func TestDeathsAreWeighedBeforeTheStart(t *testing.T) {
	for _, k := range []struct {
		deaths []time.Time
		ends   bool
	}{{[]time.Time{time.Now()}, true}, {nil, false}} {
		b := newBench(t, nil)
		b.arrive(suspect(1, "c", "weigh"))
		b.fake.deaths = k.deaths
		c, ends, starts := b.w.tried(b.mustStart(1))
		if ends != k.ends || starts == k.ends || ends && c.Outcome != job.Buried {
			t.Errorf("%d deaths: ends %v, starts %v: %+v", len(k.deaths), ends, starts, c)
		}
		if marked := len(b.fake.marks) == 1; marked != starts {
			t.Errorf("%d deaths: marks %q", len(k.deaths), b.fake.marks)
		}
	}
}
