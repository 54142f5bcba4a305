package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"ringmaster/configs"
	"ringmaster/job"
)

const maxFileBytes = 1 << 20

// document is a config file: its entries in order, each key once.
type document struct {
	path    string
	entries []entry
}

type entry struct {
	key   string
	line  int
	value *yaml.Node
}

func (d document) entry(key string) (entry, bool) {
	for _, e := range d.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

func (d document) source(line int) configs.Source {
	return configs.Source{Kind: configs.FromFile, Name: d.path, Line: line}
}

// readDocument reads a file. An empty one is a document without entries. Problems do
// not keep it from returning the entries that are good.
func readDocument(path string) (document, []error) {
	d := document{path: path}
	b, err := readFile(path)
	if err != nil {
		return d, []error{job.Invalid("config file %s: %v", path, err)}
	}
	root, err := parseYAML(b)
	if err != nil {
		return d, []error{job.Invalid("config file %s: %v", path, err)}
	}
	if root == nil {
		return d, nil
	}
	if root.Kind != yaml.MappingNode {
		return d, []error{job.Invalid("config file %s:%d: want lines of the form key: value", path, root.Line)}
	}
	known := allKeys()
	var problems []error
	d.entries = collect(root, func(line int, text string) {
		problems = append(problems, job.Invalid("config file %s:%d: %s", path, line, text))
	}, known, secretKeys())
	return d, problems
}

// collect returns a mapping's entries whose keys are known and come first. Everything
// else it reports, with the nearest known key. It never quotes a value.
func collect(mapping *yaml.Node, report func(line int, text string), known, secrets []string) []entry {
	var entries []entry
	first := map[string]int{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		k, v := mapping.Content[i], resolve(mapping.Content[i+1])
		switch line, again := first[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			report(k.Line, "a key must be plain text")
		case again:
			report(k.Line, fmt.Sprintf("key %q is there twice: first in line %d", k.Value, line))
		case contains(secrets, k.Value):
			report(k.Line, fmt.Sprintf("%s is a secret and does not belong into this file: use %s_file or %s%s",
				k.Value, k.Value, configs.EnvPrefix, strings.ToUpper(k.Value)))
		case !contains(known, k.Value):
			report(k.Line, fmt.Sprintf("unknown key %q: the nearest known key is %q", k.Value, nearest(k.Value, known)))
		default:
			entries = append(entries, entry{k.Value, k.Line, v})
		}
		if _, again := first[k.Value]; !again {
			first[k.Value] = k.Line
		}
	}
	return entries
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// texts is the entry's value as it is written: one text, or those of a list.
func (e entry) texts(f configs.Field) ([]string, error) {
	if e.value.Kind == yaml.SequenceNode && f.List {
		texts := []string{}
		for _, n := range e.value.Content {
			s, err := scalar(resolve(n))
			if err != nil {
				return nil, fmt.Errorf("a member of the list: %w", err)
			}
			texts = append(texts, s)
		}
		return texts, nil
	}
	s, err := scalar(e.value)
	if err != nil {
		return nil, err
	}
	return f.Given(s), nil
}

func scalar(n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "", errors.New("want one value, not a list")
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("want one value, not a mapping")
	case n.Tag == "!!null":
		return "", errors.New("the value is missing: give one, or remove the line")
	}
	return n.Value, nil
}

// readFile reads a file or pipe of at most maxFileBytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("it is a directory: want a YAML file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFileBytes)
	}
	return b, nil
}

// cause is a file error without the path, which the caller names itself.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parseYAML returns the root of the only document in b, nil if there is none.
func parseYAML(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, explain(err, b)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, fmt.Errorf("line %d: a second YAML document begins: want one", more.Line)
	case !errors.Is(err, io.EOF):
		return nil, explain(err, b)
	}
	if len(doc.Content) == 0 || (doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null") {
		return nil, nil
	}
	return resolve(doc.Content[0]), nil
}

// explain adds what is likely wrong to an error of the YAML parser.
func explain(err error, b []byte) error {
	for i, line := range strings.Split(string(b), "\n") {
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
			return fmt.Errorf("line %d is indented with a tab: YAML wants spaces", i+1)
		}
	}
	return fmt.Errorf("not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}
