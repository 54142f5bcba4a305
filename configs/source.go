package configs

import "fmt"

// Kind is the layer that a value came from.
type Kind int

// The layers, in rising precedence.
const (
	FromDefault Kind = iota
	FromFile
	FromEnvironment
	FromFlag
)

// Source is where a value came from.
type Source struct {
	Kind Kind
	Name string // the flag with its dashes, the variable, or the file's path
	Line int    // in the file
}

// String is the source as messages name it.
func (s Source) String() string {
	switch s.Kind {
	case FromFlag:
		return "flag " + s.Name
	case FromEnvironment:
		return "environment " + s.Name
	case FromFile:
		return fmt.Sprintf("file %s:%d", s.Name, s.Line)
	default:
		return "default"
	}
}

// Sources maps each key to where its value came from. A key that is not there has its
// default.
type Sources map[string]Source
