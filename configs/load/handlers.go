package load

import (
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ringmaster/configs"
	"ringmaster/job"
)

const (
	minHandlerTimeout = 10 * time.Millisecond
	maxHandlerTimeout = 24 * time.Hour
)

// handlers reads the only key that nests. It reports every problem in every handler and
// returns the good ones.
func (l *loading) handlers(builtin bool) []configs.Handler {
	e, ok := l.file.entry("handlers")
	if !ok {
		return nil
	}
	l.Sources["handlers"] = l.file.source(e.line)
	p := &handlerParser{l: l}
	if e.value.Kind != yaml.SequenceNode {
		p.bad(e.line, "handlers: want a list: \"- type: NAME\" with exec or http")
		return nil
	}
	var handlers []configs.Handler
	lines := map[string]int{}
	for _, n := range e.value.Content {
		n = resolve(n)
		h, ok := p.handler(n)
		if h.Type != "" {
			if line, again := lines[h.Type]; again {
				p.bad(n.Line, "type %q has a handler already, in line %d", h.Type, line)
			}
			lines[h.Type] = n.Line
		}
		if builtin && slices.Contains(configs.BuiltinTypes(), h.Type) {
			p.bad(n.Line, "type %q is built in: rename it, or set builtin: false", h.Type)
		}
		if ok {
			handlers = append(handlers, h)
		}
	}
	return handlers
}

type handlerParser struct{ l *loading }

func (p *handlerParser) bad(line int, format string, args ...any) {
	p.l.Fail("handlers")
	p.l.Problem("config file %s:%d: %s", p.l.file.path, line, fmt.Sprintf(format, args...))
}

// mapping returns n's entries, having reported unknown keys.
func (p *handlerParser) mapping(n *yaml.Node, what string, known ...string) ([]entry, bool) {
	if n.Kind != yaml.MappingNode {
		p.bad(n.Line, "%s: want a mapping with the keys %s", what, strings.Join(known, ", "))
		return nil, false
	}
	ok := true
	entries := collect(n, func(line int, text string) {
		ok = false
		p.bad(line, "%s: %s", what, text)
	}, known, nil)
	return entries, ok
}

func (p *handlerParser) handler(n *yaml.Node) (h configs.Handler, ok bool) {
	entries, ok := p.mapping(n, "handler", "type", "concurrency", "exec", "http")
	if n.Kind != yaml.MappingNode {
		return h, false
	}
	given := map[string]bool{}
	for _, e := range entries {
		given[e.key] = true
		good := true
		switch e.key {
		case "type":
			h.Type, good = p.text(e, "handler: type", func(s string) error { return job.CheckName("type", s) })
		case "concurrency":
			h.Concurrency, good = p.concurrency(e)
		case "exec":
			h.Exec, good = p.exec(e)
		case "http":
			h.HTTP, good = p.http(e)
		}
		ok = ok && good
	}
	if !given["type"] {
		p.bad(n.Line, "handler: type is missing")
		ok = false
	}
	if given["exec"] == given["http"] {
		p.bad(n.Line, "handler: want exactly one of exec and http")
		ok = false
	}
	return h, ok
}

func (p *handlerParser) text(e entry, what string, check func(string) error) (string, bool) {
	s, err := scalar(e.value)
	if err == nil {
		err = check(s)
	}
	if err != nil {
		p.bad(e.line, "%s: %v", what, err)
		return "", false
	}
	return s, true
}

func (p *handlerParser) concurrency(e entry) (n int, ok bool) {
	_, ok = p.text(e, "handler: concurrency", func(s string) (err error) {
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			return fmt.Errorf("%q: want a whole number of at least 1", s)
		}
		return nil
	})
	return n, ok
}

func (p *handlerParser) timeout(e entry, what string) (d time.Duration, ok bool) {
	_, ok = p.text(e, what, func(s string) (err error) {
		if d, err = configs.ParseDuration(s, minHandlerTimeout, maxHandlerTimeout); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
		return nil
	})
	return d, ok
}

func (p *handlerParser) exec(e entry) (*configs.Exec, bool) {
	x := &configs.Exec{}
	entries, ok := p.mapping(e.value, "exec", "command", "timeout")
	for _, e := range entries {
		good := true
		switch e.key {
		case "command":
			x.Command, good = p.command(e)
		case "timeout":
			x.Timeout, good = p.timeout(e, "exec: timeout")
		}
		ok = ok && good
	}
	if _, found := find(entries, "command"); !found && e.value.Kind == yaml.MappingNode {
		p.bad(e.line, "exec: command is missing")
		return x, false
	}
	return x, ok
}

func (p *handlerParser) command(e entry) ([]string, bool) {
	const want = `want a list of the program and its arguments, such as ["sha256sum", "-"]; there is no shell`
	if e.value.Kind != yaml.SequenceNode {
		p.bad(e.line, "exec: command: %s", want)
		return nil, false
	}
	var command []string
	for _, n := range e.value.Content {
		s, err := scalar(resolve(n))
		if err != nil {
			p.bad(n.Line, "exec: command: %v", err)
			return nil, false
		}
		if strings.ContainsRune(s, 0) {
			p.bad(n.Line, "exec: command: an argument cannot hold a NUL")
			return nil, false
		}
		command = append(command, s)
	}
	if len(command) == 0 || command[0] == "" {
		p.bad(e.line, "exec: command is empty: %s", want)
		return nil, false
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		p.l.Warn("config file %s:%d: exec: %v", p.l.file.path, e.line, err)
	}
	return command, true
}

func (p *handlerParser) http(e entry) (*configs.HTTP, bool) {
	x := &configs.HTTP{}
	entries, ok := p.mapping(e.value, "http", "url", "timeout")
	for _, e := range entries {
		good := true
		switch e.key {
		case "url":
			x.URL, good = p.text(e, "http: url", checkURL)
		case "timeout":
			x.Timeout, good = p.timeout(e, "http: timeout")
		}
		ok = ok && good
	}
	if _, found := find(entries, "url"); !found && e.value.Kind == yaml.MappingNode {
		p.bad(e.line, "http: url is missing")
		return x, false
	}
	return x, ok
}

func find(entries []entry, key string) (entry, bool) {
	return document{entries: entries}.entry(key)
}

// checkURL never quotes the URL: it may hold a password.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("want http://host[:port]/path, or https")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("want a port from 1 to 65535")
		}
	}
	return nil
}
