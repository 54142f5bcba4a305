package demo

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func TestTasksAreSeededAndStartOver(t *testing.T) {
	c := corpus{root: "/r", files: []string{"a/x", "a/y", "b/z", "top"}}
	one, two, other := c.tasks(10, 0, 1), c.tasks(10, 0, 1), c.tasks(10, 0, 2)
	if !reflect.DeepEqual(one, two) || reflect.DeepEqual(one, other) {
		t.Errorf("order does not follow from the seed: %v, %v, %v", one, two, other)
	}
	for i := range 6 {
		if one[i] != one[i+4] {
			t.Errorf("task %d is %v, task %d is %v", i, one[i], i+4, one[i+4])
		}
	}
	keys := map[string]string{}
	for _, task := range one {
		keys[task.path] = task.key
	}
	want := map[string]string{"/r/a/x": "a", "/r/a/y": "a", "/r/b/z": "b", "/r/top": "."}
	if !reflect.DeepEqual(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	folded := map[string]bool{}
	for _, task := range c.tasks(4, 1, 1) {
		folded[task.key] = true
	}
	if len(folded) != 1 {
		t.Errorf("folded into one key: %v", folded)
	}
	long := keyOf(strings.Repeat("d/", 300)+"f", 0)
	if job.CheckKey(long) != nil {
		t.Errorf("key %q is no key", long)
	}
}

func TestCorpusTakesRegularFilesThatCanBeRead(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", "sub/c", "bad\xff"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	huge, err := os.Create(filepath.Join(tree, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(huge.Truncate(maxFileBytes+1), huge.Close(), os.Symlink("a", filepath.Join(tree, "link")), os.Symlink(tree, filepath.Join(dir, "door"))); err != nil {
		t.Fatal(err)
	}
	c, err := findCorpus(t.Context(), filepath.Join(dir, "door"), dir, 1)
	if err != nil || !reflect.DeepEqual(c.files, []string{"a", "b", "sub/c"}) {
		t.Errorf("%v, %v", c.files, err)
	}
	for _, bad := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "empty")} {
		_ = os.Mkdir(filepath.Join(dir, "empty"), 0o700) // the second round finds it there
		if _, err := findCorpus(t.Context(), bad, dir, 1); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestOwnCorpusWhereThereIsNoGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c, err := findCorpus(t.Context(), "", t.TempDir(), 1)
	if err != nil || len(c.files) != ownFiles {
		t.Errorf("%d files, %v", len(c.files), err)
	}
}

func TestBusyKeysAreNotPaced(t *testing.T) {
	var tasks []task
	for i := range 1000 {
		key := "busy"
		if i%2 == 0 {
			key = filepath.Join("cold", string(rune('a'+i%100)))
		}
		tasks = append(tasks, task{key: key})
	}
	pace, unpaced := pacing(tasks, 1000)
	if pace != 8*time.Millisecond || !reflect.DeepEqual(unpaced, []string{"busy"}) {
		t.Errorf("pace %s, unpaced %v", pace, unpaced)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Jobs: MinJobs - 1}, {Jobs: MaxJobs + 1}, {Jobs: 100, Keys: -1}} {
		if err := o.Validate(); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := (Options{Jobs: MinJobs}).Validate(); err != nil {
		t.Error(err)
	}
}
