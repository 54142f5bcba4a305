package configs

import (
	"fmt"
	"net/url"
	"strings"
)

// Row is one setting as it is shown to people.
type Row struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // never a secret: "(set)" where there is one, *** within a URL
	Source string `json:"source"` // as Source.String
}

// View lists all settings of a program in a fixed order, each with its source.
func View(s Settings, sources Sources) []Row {
	var rows []Row
	for _, f := range s.Fields() {
		value := f.Show()
		if f.Hide != nil {
			value = f.Hide(value)
		}
		rows = append(rows, Row{f.Key, value, sources[f.Key].String()})
	}
	w, ok := s.(*Worker)
	if !ok {
		return rows
	}
	var handlers []string
	for _, h := range w.Handlers {
		handlers = append(handlers, h.describe(*w))
	}
	return append(rows, Row{"handlers", strings.Join(handlers, "; "), sources["handlers"].String()})
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
