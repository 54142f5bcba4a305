package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Tail reads one ledger as it grows. It belongs to one goroutine.
type Tail struct {
	path   string
	offset int64
}

// NewTail prepares to read a file from its beginning.
func NewTail(path string) *Tail { return &Tail{path: path} }

// Read calls f with each record that is new, and bad with each line that is none. A last
// line without its end is left for the next call: its process may be writing it. torn
// reports that there is one.
func (t *Tail) Read(f func(Record), bad func(line string, err error)) (torn bool, err error) {
	file, err := os.Open(t.path)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(t.offset, io.SeekStart); err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	n, torn, err := Scan(file, f, bad)
	t.offset += n
	if err != nil {
		return torn, fmt.Errorf("read ledger %s: %w", t.path, err)
	}
	return torn, nil
}

// Scan reads records to the end and returns how many bytes of whole lines it read.
func Scan(in io.Reader, f func(Record), bad func(line string, err error)) (n int64, torn bool, err error) {
	lines := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return n, line != "", nil
		}
		if err != nil {
			return n, false, err
		}
		n += int64(len(line))
		line = strings.TrimSuffix(line, "\n")
		r, err := Parse(line)
		if err != nil {
			bad(line, err)
			continue
		}
		f(r)
	}
}
