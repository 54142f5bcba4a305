package main

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

const extension = ".mutant"

// mutant is one known bug.
type mutant struct {
	name   string  // of its file
	breaks string  // what goes wrong, and which promise that breaks
	checks []check // of which one should fail, most likely first
	edits  []edit
}

// edit replaces consecutive lines, which are found by their text. Indentation does not
// count.
type edit struct {
	in       string // a file, or a folder: all sources in and below it are searched
	old, new []string
}

// catalogue reads all mutants of a folder, in the order of their names.
func catalogue(tree fs.FS, dir string) ([]mutant, error) {
	files, err := fs.Glob(tree, path.Join(dir, "*"+extension))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no mutants in %s: %w", dir, err)
	}
	out := make([]mutant, len(files))
	for i, file := range files {
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			return nil, fmt.Errorf("read mutant: %w", err)
		}
		if out[i], err = parse(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out[i].name = strings.TrimSuffix(path.Base(file), extension)
	}
	return out, nil
}

// parse reads a mutant: "breaks:" and "check:" lines, then for each edit "@@ where" and
// the lines of a unified diff without numbers.
func parse(text string) (mutant, error) {
	var m mutant
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		var at *edit
		if len(m.edits) > 0 {
			at = &m.edits[len(m.edits)-1]
		}
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "@@" && rest != "":
			m.edits = append(m.edits, edit{in: rest})
		case at == nil && word == "breaks:":
			m.breaks = rest
		case at == nil && word == "check:":
			c, err := parseCheck(rest)
			if err != nil {
				return m, fmt.Errorf("line %d: %w", n+1, err)
			}
			m.checks = append(m.checks, c)
		case at == nil && line == "":
		case at != nil && line == "":
			at.old, at.new = append(at.old, ""), append(at.new, "")
		case at != nil && line[0] == ' ':
			at.old, at.new = append(at.old, line[1:]), append(at.new, line[1:])
		case at != nil && line[0] == '-':
			at.old = append(at.old, line[1:])
		case at != nil && line[0] == '+':
			at.new = append(at.new, line[1:])
		default:
			return m, fmt.Errorf("line %d: %q is none of 'breaks: ', 'check: ', '@@ where', or a line of a diff", n+1, line)
		}
	}
	if m.breaks == "" || len(m.checks) == 0 || len(m.edits) == 0 {
		return m, fmt.Errorf("a mutant says what it breaks, has a check and an edit; here are %d and %d", len(m.checks), len(m.edits))
	}
	return m, nil
}

// apply returns the files that the mutant changes, with their new content.
func (m *mutant) apply(tree fs.FS) (map[string]string, error) {
	changed := map[string]string{}
	for i := range m.edits {
		e := &m.edits[i]
		files, err := sources(tree, e.in)
		if err != nil {
			return nil, m.refresh(e, err.Error())
		}
		places, file, content := 0, "", ""
		for _, name := range files {
			text, ok := changed[name]
			if !ok {
				raw, err := fs.ReadFile(tree, name)
				if err != nil {
					return nil, fmt.Errorf("read source: %w", err)
				}
				text = string(raw)
			}
			if next, n := e.replace(text); n > 0 {
				places, file, content = places+n, name, next
			}
		}
		if places != 1 {
			return nil, m.refresh(e, fmt.Sprintf("%d places have these lines, wanted is one", places))
		}
		changed[file] = content
	}
	return changed, nil
}

// refresh is the error of a mutant that does not fit the code any more.
func (m *mutant) refresh(e *edit, why string) error {
	return fmt.Errorf("mutant %s no longer applies in %s: %s\n\t%s\nwrite the same bug for the code as it is into %s%s (delete the mutant only if the bug cannot be written any more)",
		m.name, e.in, why, strings.Join(e.old, "\n\t"), m.name, extension)
}

// sources are the files that may be changed: no tests, and only what is compiled or embedded.
func sources(tree fs.FS, in string) ([]string, error) {
	var out []string
	err := fs.WalkDir(tree, in, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return fs.SkipDir
		case strings.HasSuffix(name, "_test.go"):
		case path.Ext(name) == ".go" || path.Ext(name) == ".lua":
			out = append(out, name)
		}
		return nil
	})
	return out, err
}

// replace puts the new lines in place of the old ones. It returns how many places had them.
func (e *edit) replace(text string) (string, int) {
	lines := strings.Split(text, "\n")
	places, at := 0, 0
	for i := 0; i+len(e.old) <= len(lines); i++ {
		if same(lines[i:i+len(e.old)], e.old) {
			places, at = places+1, i
		}
	}
	if places == 0 {
		return text, 0
	}
	out := append([]string{}, lines[:at]...)
	out = append(out, e.new...)
	out = append(out, lines[at+len(e.old):]...)
	return strings.Join(out, "\n"), places
}

func same(a, b []string) bool {
	for i := range b {
		if strings.TrimSpace(a[i]) != strings.TrimSpace(b[i]) {
			return false
		}
	}
	return true
}
