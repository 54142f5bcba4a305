package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"ringmaster/job"
)

const (
	// maxFileBytes keeps a few huge files from being all that the demo does.
	maxFileBytes = 16 << 20
	// ownFiles is the size of the corpus that is made where there is none.
	ownFiles, ownDirs = 2000, 100
)

// corpus is the files that the demo's jobs hash.
type corpus struct {
	root  string
	files []string // relative to root, slashes, sorted
}

// findCorpus lists the regular files below dir or, if that is empty, below Go's own
// tree. Where there is no Go it makes files in scratch.
func findCorpus(ctx context.Context, dir, scratch string, seed uint64) (corpus, error) {
	if dir == "" {
		dir = goroot(ctx)
	}
	if dir == "" {
		own := filepath.Join(scratch, "corpus")
		if err := makeCorpus(own, seed); err != nil {
			return corpus{}, err
		}
		dir = own
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return corpus{}, job.Invalid("--dir %s: %v", dir, err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return corpus{}, fmt.Errorf("find %s: %w", dir, err)
	}
	c := corpus{root: root}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if d != nil && d.IsDir() && path != root {
				return fs.SkipDir // not ours to read
			}
			return err
		}
		if rel, ok := usable(root, path, d); ok {
			c.files = append(c.files, rel)
		}
		return nil
	})
	if err != nil {
		return corpus{}, fmt.Errorf("list files below %s: %w", root, err)
	}
	if len(c.files) == 0 {
		return corpus{}, job.Invalid("--dir %s: no file of at most %d MiB that can be read is below it", dir, maxFileBytes>>20)
	}
	slices.Sort(c.files)
	return c, nil
}

func usable(root, path string, d fs.DirEntry) (string, bool) {
	if !d.Type().IsRegular() || !utf8.ValidString(path) {
		return "", false
	}
	info, err := d.Info()
	if err != nil || info.Size() > maxFileBytes {
		return "", false
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	_ = f.Close() // opened only to see that it can be
	rel, err := filepath.Rel(root, path)
	return filepath.ToSlash(rel), err == nil
}

func goroot(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return ""
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// makeCorpus writes files of seeded content and size.
func makeCorpus(dir string, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1))
	content := make([]byte, 32<<10)
	for i := range ownFiles {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", random.IntN(ownDirs)))
		err := os.MkdirAll(sub, 0o700)
		for j := range content {
			content[j] = byte(random.Uint32())
		}
		size := 1 + random.IntN(len(content))
		err = errors.Join(err, os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%05d", i)), content[:size], 0o600))
		if err != nil {
			return fmt.Errorf("make files to hash: %w", err)
		}
	}
	return nil
}

// task is a job to be: a path and the key of its directory.
type task struct {
	path string // absolute
	key  string
}

// tasks puts the files in seeded order and starts over until there are n. With keys
// above 0 the directories are folded into so many keys.
func (c corpus) tasks(n, keys int, seed uint64) []task {
	order := slices.Clone(c.files)
	rand.New(rand.NewPCG(seed, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	out := make([]task, n)
	for i := range out {
		rel := order[i%len(order)]
		out[i] = task{filepath.Join(c.root, filepath.FromSlash(rel)), keyOf(rel, keys)}
	}
	return out
}

func keyOf(rel string, keys int) string {
	dir := "."
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		dir = rel[:i]
	}
	switch {
	case keys > 0:
		return fmt.Sprintf("key-%d", xxhash.Sum64String(dir)%uint64(keys))
	case len(dir) > job.MaxKeyBytes:
		return fmt.Sprintf("dir-%016x", xxhash.Sum64String(dir))
	}
	return dir
}
