//go:build !linux

package redisproc

import "errors"

// Disk is a small file system, which this system has no way to make.
type Disk struct{ Dir string }

var errNoDisk = errors.New("small file systems are made on Linux only")

// NewDisk fails.
func NewDisk(string, int) (*Disk, error) { return nil, errNoDisk }

// Fill fails.
func (d *Disk) Fill() error { return errNoDisk }

// Drain fails.
func (d *Disk) Drain() error { return errNoDisk }

// Close fails.
func (d *Disk) Close() error { return errNoDisk }
