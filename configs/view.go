package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Row is one setting as it is shown to people.
type Row struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // never a secret: "(set)" where there is one, *** within a URL
	Source string `json:"source"` // as Source.String
}

// Settings is implemented by Dispatcher, Worker and Ringctl.
type Settings interface{ rows(Sources) []Row }

// View lists all settings of a program in a fixed order, each with its source.
func View(s Settings, sources Sources) []Row { return s.rows(sources) }

func (d Dispatcher) rows(s Sources) []Row { return rowsOf(&d, s) }
func (r Ringctl) rows(s Sources) []Row    { return rowsOf(&r, s) }

func (w Worker) rows(s Sources) []Row {
	rows := rowsOf(&w, s)
	var handlers []string
	for _, h := range w.Handlers {
		handlers = append(handlers, h.describe(w))
	}
	return append(rows, Row{"handlers", strings.Join(handlers, "; "), s["handlers"].String()})
}

func rowsOf(s settings, sources Sources) []Row {
	var rows []Row
	for _, f := range s.fields() {
		value := f.show()
		if f.hide != nil {
			value = f.hide(value)
		}
		rows = append(rows, Row{f.key, value, sources[f.key].String()})
	}
	return rows
}

func (h Handler) describe(w Worker) string {
	limits := formatDuration(h.Timeout(w.HandlerTimeout))
	if h.Concurrency > 0 {
		limits += fmt.Sprintf(", %d at a time", h.Concurrency)
	}
	switch {
	case h.Exec != nil:
		return h.Type + ": exec " + strings.Join(h.Exec.Command, " ") + " (" + limits + ")"
	case h.HTTP != nil:
		return h.Type + ": http " + redactHTTP(h.HTTP.URL) + " (" + limits + ")"
	}
	return h.Type
}

// redactHTTP drops all that may hold a secret: user, query and fragment.
func redactHTTP(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return redacted
	}
	out := u.Scheme + "://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		out += "?" + redacted
	}
	return out
}

// allKeys are the keys that a file may have: one file may serve all three programs.
func allKeys() []string {
	var keys []string
	for _, p := range programs() {
		for _, f := range p.settings.fields() {
			if !f.secret && !slices.Contains(keys, f.key) {
				keys = append(keys, f.key)
			}
		}
	}
	return append(keys, "handlers")
}

func secretKeys() []string {
	var keys []string
	for _, p := range programs() {
		for _, f := range p.settings.fields() {
			if f.secret && !slices.Contains(keys, f.key) {
				keys = append(keys, f.key)
			}
		}
	}
	return keys
}

type program struct {
	name     string
	settings settings
}

// programs is a fresh set of defaults for each program.
func programs() []program {
	d, w, r := DefaultDispatcher(), DefaultWorker(), DefaultRingctl()
	return []program{{"dispatcher", &d}, {"worker", &w}, {"ringctl", &r}}
}
