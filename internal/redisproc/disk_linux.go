package redisproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is a small file system in memory, so that it can be full.
type Disk struct{ Dir string }

// NewDisk mounts one of so many bytes at dir. It needs the rights to mount.
func NewDisk(dir string, bytes int) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make disk: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		return nil, fmt.Errorf("mount a file system at %s: %w", dir, err)
	}
	return &Disk{dir}, nil
}

// Fill takes what is free.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{64 << 10, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("fill disk: %w", err)
		}
		err = nil
	}
	return nil
}

// Drain gives it back.
func (d *Disk) Drain() error {
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("drain disk: %w", err)
	}
	return nil
}

// Close unmounts it. What uses it must have ended.
func (d *Disk) Close() error {
	if err := syscall.Unmount(d.Dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.Dir, err)
	}
	return nil
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }
