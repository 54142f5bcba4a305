package redisproc

import (
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed shims/*.c
var sources embed.FS

// compile makes a shared object of a shim, in dir, with the C compiler of this machine.
func compile(ctx context.Context, dir, name string) (string, error) {
	text, err := sources.ReadFile("shims/" + name + ".c")
	if err != nil {
		return "", fmt.Errorf("compile shim: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("compile shim: %w", err)
	}
	out := filepath.Join(dir, name+".so")
	cmd := exec.CommandContext(ctx, "cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-x", "c", "-o", out, "-", "-ldl")
	cmd.Stdin = strings.NewReader(string(text))
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile shim %s: %w\n%s", name, err, said)
	}
	return out, nil
}

// preload adds a shim to what a process loads before all else.
func preload(o Options, shim string, env ...string) Options {
	o.Env = append(append([]string{"LD_PRELOAD=" + shim}, env...), o.Env...)
	return o
}

// PowerCut is a server whose machine can lose its power: what was written and not synced
// is lost then, as on a disk that keeps its word.
type PowerCut struct {
	*Server
	notes string
}

// StartPowerCut starts one. It needs a C compiler, and Linux.
func StartPowerCut(ctx context.Context, o Options) (*PowerCut, error) {
	notes := filepath.Join(o.Dir, "synced")
	if err := os.MkdirAll(notes, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of notes: %w", err)
	}
	shim, err := compile(ctx, filepath.Join(o.Dir, "shim"), "powercut")
	if err != nil {
		return nil, err
	}
	o = preload(o, shim, "RM_POWERCUT="+notes)
	o.Dir = filepath.Join(o.Dir, "data")
	s, err := Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return &PowerCut{s, notes}, nil
}

// Cut takes the power away and returns the number of bytes that this lost. Names of files
// are kept as they were, as by a journal of metadata. Restart gives the power back.
func (p *PowerCut) Cut() (int64, error) {
	if err := p.Kill(); err != nil {
		return 0, err
	}
	var lost int64
	err := p.files(func(path string, size, synced int64) error {
		if synced >= size {
			return nil
		}
		lost += size - synced
		return os.Truncate(path, synced)
	})
	if err != nil {
		return lost, fmt.Errorf("cut the power: %w", err)
	}
	return lost, nil
}

// Unsynced is the number of bytes that a power cut would lose now.
func (p *PowerCut) Unsynced() (int64, error) {
	var sum int64
	err := p.files(func(_ string, size, synced int64) error {
		sum += max(0, size-synced)
		return nil
	})
	return sum, err
}

// files calls f for each file of the server but its log.
func (p *PowerCut) files(f func(path string, size, synced int64) error) error {
	return filepath.WalkDir(p.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == p.logFile() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server removed it meanwhile
		}
		if err != nil {
			return err
		}
		synced, err := p.synced(info.Sys().(*syscall.Stat_t).Ino)
		if err != nil {
			return err
		}
		return f(path, info.Size(), synced)
	})
}

// synced is how much of a file the disk has.
func (p *PowerCut) synced(inode uint64) (int64, error) {
	text, err := os.ReadFile(filepath.Join(p.notes, strconv.FormatUint(inode, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(text), 10, 64)
}

// Clock moves the wall clocks of processes.
type Clock struct {
	path string
	shim string
}

// NewClock makes one that shows the machine's time, with its files in dir. It needs a C
// compiler, and Linux.
func NewClock(ctx context.Context, dir string) (*Clock, error) {
	shim, err := compile(ctx, dir, "clock")
	if err != nil {
		return nil, err
	}
	c := &Clock{path: filepath.Join(dir, "offset"), shim: shim}
	return c, c.Step(0)
}

// Options makes a server follow the clock.
func (c *Clock) Options(o Options) Options { return preload(o, c.shim, "RM_CLOCK="+c.path) }

// Step sets the clock to this machine's time plus d, for all processes that follow it.
func (c *Clock) Step(d time.Duration) error {
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], uint64(d))
	f, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("step the clock: %w", err)
	}
	_, err = f.WriteAt(raw[:], 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("step the clock: %w", err)
	}
	return nil
}
