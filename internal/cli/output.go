package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// printer writes results in the form that was asked for.
type printer struct {
	w      io.Writer
	format string // table, json or jsonl
}

// object writes one thing; rows are its lines where a table is wanted.
func (p printer) object(v any, rows func() [][]string) error {
	if p.format == "table" {
		return p.table(nil, rows())
	}
	return p.encode(v)
}

// list writes things: in JSON one array, in JSON lines one a line.
func list[T any](p printer, items []T, header []string, row func(T) []string) error {
	switch p.format {
	case "json":
		if items == nil {
			items = []T{}
		}
		return p.encode(items)
	case "jsonl":
		for _, item := range items {
			if err := p.encode(item); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	return p.table(header, rows)
}

func (p printer) encode(v any) error {
	enc := json.NewEncoder(p.w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (p printer) table(header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	if header != nil {
		rows = append([][]string{header}, rows...)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		line := strings.Join(cells, "\t")
		if _, err := fmt.Fprintln(tw, strings.TrimRight(line, "\t")); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// line writes one line of text.
func (p printer) line(s string) error {
	if _, err := fmt.Fprintln(p.w, s); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// plain makes text from outside safe for a terminal and for a table: what does not
// print is shown escaped.
func plain(s string) string {
	clean := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
	if clean {
		return s
	}
	quoted := fmt.Sprintf("%q", s)
	return quoted[1 : len(quoted)-1]
}

// short cuts text for a table.
func short(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit {
		return s
	}
	return string(r[:limit-3]) + "..."
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number[N int | uint64](n N) string { return fmt.Sprint(n) }

func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }
