package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// errVoid: a check does not pass on the unchanged tree.
var errVoid = errors.New("void: without any mutant")

// suite tries mutants on one tree, some at a time.
type suite struct {
	dir      string // the tree; nothing in it is changed
	scratch  string // for what replaces its files
	parallel int
	log      func(line string) // for each thing that ended; never two at once
	patience time.Duration     // what a check may take at least, however fast it was without the bug

	// Programs of the unchanged tree, by package, and how long a check takes on it: each is
	// found out when it is first asked.
	programs map[string]func() (string, error)
	normal   map[string]func() (time.Duration, error)
	mu       sync.Mutex
}

// verdict is what became of one mutant.
type verdict struct {
	mutant *mutant
	caught bool
	check  check // that caught it
	test   string
	took   time.Duration // of all checks with the bug in, building included
	cpu    time.Duration // of the same
	err    error         // it does not apply or compile, or could not be tried
}

// run tries all mutants. An error means that the run is void: a check must pass on the
// unchanged tree, or its failing says nothing.
func (s *suite) run(ctx context.Context, all []mutant) ([]verdict, error) {
	s.prepare(ctx, all)
	out := make([]verdict, len(all))
	s.each(len(all), func(i int) {
		out[i] = s.try(ctx, &all[i])
		s.tell(&out[i])
	})
	for i := range out {
		if errors.Is(out[i].err, errVoid) {
			for k := range out {
				out[k].caught = false
			}
			return out, out[i].err
		}
	}
	return out, nil
}

func (s *suite) prepare(ctx context.Context, all []mutant) {
	s.programs, s.normal = map[string]func() (string, error){}, map[string]func() (time.Duration, error){}
	plain := &tree{dir: s.dir, bin: s.scratch}
	for i := range all {
		for _, c := range all[i].checks {
			if s.programs[c.pkg] == nil {
				s.programs[c.pkg] = sync.OnceValues(func() (string, error) {
					program, _, err := plain.build(ctx, c.pkg)
					return program, err
				})
			}
			if s.normal[c.text] == nil {
				s.normal[c.text] = sync.OnceValues(func() (time.Duration, error) { return s.unchanged(ctx, plain, c) })
			}
		}
	}
}

// unchanged runs a check on the tree as it is.
func (s *suite) unchanged(ctx context.Context, plain *tree, c check) (time.Duration, error) {
	program, err := s.programs[c.pkg]()
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", errVoid, c.text, err)
	}
	r, err := plain.run(ctx, program, c, 5*time.Minute)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx) // the end of the run's time says nothing about the tree
	}
	if err == nil && !r.passed {
		err = errors.New("it fails")
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w\n%s", errVoid, c.text, err, r.output)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log(fmt.Sprintf("unchanged %6.1f s  %s", r.took.Seconds(), c.text))
	return r.took, nil
}

// each calls f for 0 to n-1, s.parallel at a time.
func (s *suite) each(n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range max(s.parallel, 1) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// try puts one bug in and runs its checks until one fails.
func (s *suite) try(ctx context.Context, m *mutant) verdict {
	v := verdict{mutant: m}
	bugged, err := s.overlay(m)
	if err != nil {
		v.err = err
		return v
	}
	programs := map[string]string{}
	for _, c := range m.checks {
		normal, err := s.normal[c.text]()
		if err != nil {
			v.err = err
			return v
		}
		began := time.Now()
		if programs[c.pkg] == "" {
			program, spent, err := bugged.build(ctx, c.pkg)
			if err != nil {
				v.err = fmt.Errorf("mutant %s: %w", m.name, err)
				return v
			}
			programs[c.pkg], v.cpu = program, v.cpu+spent
		}
		// Far longer than without the bug: then a timeout is the bug's doing.
		r, err := bugged.run(ctx, programs[c.pkg], c, max(s.patience, 6*normal))
		v.took, v.cpu = v.took+time.Since(began), v.cpu+r.cpu
		if err != nil {
			v.err = fmt.Errorf("mutant %s: %s: %w\n%s", m.name, c.text, err, r.output)
			return v
		}
		if !r.passed {
			v.caught, v.check, v.test = true, c, r.test
			return v
		}
	}
	return v
}

// overlay writes the mutant's files, and the file that puts them in their places.
func (s *suite) overlay(m *mutant) (*tree, error) {
	files, err := m.apply(os.DirFS(s.dir))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.scratch, m.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("prepare mutant %s: %w", m.name, err)
	}
	replace := map[string]string{}
	for name, text := range files {
		to := filepath.Join(dir, fmt.Sprintf("%d%s", len(replace), filepath.Ext(name)))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write mutant %s: %w", m.name, err)
		}
		replace[filepath.Join(s.dir, name)] = to
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, fmt.Errorf("encode overlay: %w", err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		return nil, fmt.Errorf("write mutant %s: %w", m.name, err)
	}
	return &tree{dir: s.dir, bin: dir, overlay: file}, nil
}

func (s *suite) tell(v *verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case v.err != nil:
		s.log(fmt.Sprintf("error     %s: %v", v.mutant.name, v.err))
	case v.caught:
		s.log(fmt.Sprintf("caught    %6.1f s  %s by %s", v.took.Seconds(), v.mutant.name, v.test))
	default:
		s.log(fmt.Sprintf("MISSED    %6.1f s  %s", v.took.Seconds(), v.mutant.name))
	}
}
