package configs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"ringmaster/job"
)

const envPrefix = "RINGMASTER_"

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

// Report is what a load has to tell besides the values.
type Report struct {
	Sources  Sources
	Warnings []string // worth logging, not worth stopping for
}

// LoadDispatcher loads the settings of a dispatcher. Flags may be nil; of those there,
// only the ones that were typed count. An empty file name reads no file. The
// environment is a list of NAME=value, as os.Environ returns it; empty values count as
// unset. The error, an ErrInvalid, has one line for each problem found. It reads the
// config file and the files of secrets.
func LoadDispatcher(flags *pflag.FlagSet, file string, environ []string) (Dispatcher, Report, error) {
	d := DefaultDispatcher()
	report, err := load(&d, flags, file, environ, false)
	if err != nil {
		return Dispatcher{}, report, err
	}
	return d, report, nil
}

// LoadWorker is LoadDispatcher for a worker. A worker without a queue or without any
// handler is an error.
func LoadWorker(flags *pflag.FlagSet, file string, environ []string) (Worker, Report, error) {
	return loadWorker(flags, file, environ, false)
}

// LoadDev is LoadWorker for a program that adds queues and handlers of its own: the
// settings need name neither.
func LoadDev(flags *pflag.FlagSet, file string, environ []string) (Worker, Report, error) {
	return loadWorker(flags, file, environ, true)
}

func loadWorker(flags *pflag.FlagSet, file string, environ []string, lax bool) (Worker, Report, error) {
	w := DefaultWorker()
	report, err := load(&w, flags, file, environ, lax)
	if err != nil {
		return Worker{}, report, err
	}
	return w, report, nil
}

// LoadRingctl is LoadDispatcher for ringctl.
func LoadRingctl(flags *pflag.FlagSet, file string, environ []string) (Ringctl, Report, error) {
	r := DefaultRingctl()
	report, err := load(&r, flags, file, environ, false)
	if err != nil {
		return Ringctl{}, report, err
	}
	return r, report, nil
}

// Check holds settings that a program made itself against the limits of those that are loaded, and
// against each other, and reads the files that they name. The error, an ErrInvalid, has one line
// for each that is wrong.
func (c *Common) Check() error { return check(c) }

// Check is Common.Check for a worker.
func (w *Worker) Check() error { return check(w) }

// Check is Common.Check for a dispatcher.
func (d *Dispatcher) Check() error { return check(d) }

func check(s settings) error {
	l := &loading{lax: true, report: Report{Sources: Sources{}}, failed: map[string]bool{}}
	for _, f := range s.fields() {
		given := []string{f.show()}
		if f.list {
			given = splitList(given[0])
		}
		if err := f.set(given); err != nil {
			l.failed[f.key] = true
			l.problem("%s = %s: %v", f.key, f.display(given), err)
		}
	}
	s.finish(l)
	return errors.Join(l.problems...)
}

// loading is one load under way. It goes on after a problem, to find the others.
type loading struct {
	flags    *pflag.FlagSet
	file     document
	env      map[string]string
	lax      bool // what the program adds later may be missing
	report   Report
	failed   map[string]bool // keys with a problem, so that none follows from it
	problems []error
}

func load(s settings, flags *pflag.FlagSet, file string, environ []string, lax bool) (Report, error) {
	l := &loading{flags: flags, env: parseEnviron(environ), lax: lax,
		report: Report{Sources: Sources{}}, failed: map[string]bool{}}
	if file != "" {
		var problems []error
		l.file, problems = readDocument(file)
		l.problems = append(l.problems, problems...)
		if len(problems) > 0 && len(l.file.entries) == 0 {
			// Nothing was read: what seems missing may well be there.
			for _, key := range allKeys() {
				l.failed[key] = true
			}
		}
	}
	fields := s.fields()
	merged, err := l.merge(fields)
	if err != nil {
		return l.report, err
	}
	for _, f := range fields {
		l.assign(f, merged)
	}
	s.finish(l)
	l.misspelt()
	return l.report, errors.Join(l.problems...)
}

// merge lays the layers over each other. Viper sees known keys and plain text only: its
// own conversions read 3 as three nanoseconds and "abc" as 0, and it lower-cases keys.
func (l *loading) merge(fields []field) (*viper.Viper, error) {
	v := viper.New()
	inFile, inEnv := map[string]any{}, map[string]any{}
	for _, f := range fields {
		if e, ok := l.file.entry(f.key); ok && !f.secret {
			if given, err := e.texts(f.list); err != nil {
				l.failed[f.key] = true
				l.problem("%s (%s): %v", f.key, l.file.source(e.line), err)
			} else {
				inFile[f.key] = given
				l.report.Sources[f.key] = l.file.source(e.line)
			}
		}
		if text := l.env[f.envName()]; text != "" {
			given := []string{text}
			if f.list {
				given = splitList(text)
			}
			inEnv[f.key] = given
			l.report.Sources[f.key] = Source{Kind: FromEnvironment, Name: f.envName()}
		}
		if flag := l.typed(f); flag != nil {
			if err := v.BindPFlag(f.key, flag); err != nil {
				return nil, fmt.Errorf("bind flag --%s: %w", flag.Name, err)
			}
			l.report.Sources[f.key] = Source{Kind: FromFlag, Name: "--" + flag.Name}
		}
	}
	for _, layer := range []map[string]any{inFile, inEnv} {
		if err := v.MergeConfigMap(layer); err != nil {
			return nil, fmt.Errorf("merge settings: %w", err)
		}
	}
	return v, nil
}

// typed is the flag of f if the user gave it.
func (l *loading) typed(f field) *pflag.Flag {
	if l.flags == nil || f.secret {
		return nil
	}
	flag := l.flags.Lookup(f.flagName())
	if flag == nil || !flag.Changed {
		return nil
	}
	return flag
}

func (l *loading) assign(f field, merged *viper.Viper) {
	source, ok := l.report.Sources[f.key]
	if !ok {
		return
	}
	var given []string
	switch raw := merged.Get(f.key).(type) {
	case []string:
		given = raw
	case string:
		given = []string{raw}
		if f.list {
			given = splitList(raw)
		}
	default:
		given = []string{fmt.Sprint(raw)}
	}
	if err := f.set(given); err != nil {
		l.failed[f.key] = true
		l.problem("%s = %s (%s): %v", f.key, f.display(given), source, err)
	}
}

func (l *loading) problem(format string, args ...any) {
	l.problems = append(l.problems, job.Invalid(format, args...))
}

func (l *loading) warn(format string, args ...any) {
	l.report.Warnings = append(l.report.Warnings, fmt.Sprintf(format, args...))
}

// good reports whether none of the keys had a problem so far.
func (l *loading) good(keys ...string) bool {
	for _, key := range keys {
		if l.failed[key] {
			return false
		}
	}
	return true
}

func (l *loading) badValue(key, shown string, err error) {
	l.failed[key] = true
	l.problem("%s = %q (%s): %v", key, shown, l.report.Sources[key], err)
}

// relate reports that two good durations do not fit each other.
func (l *loading) relate(ok bool, key string, value time.Duration, rule, other string, limit time.Duration, why string) {
	if ok || !l.good(key, other) {
		return
	}
	sources := l.report.Sources
	l.problem("%s = %s (%s) must be %s %s = %s (%s): %s", key, formatDuration(value), sources[key],
		rule, other, formatDuration(limit), sources[other], why)
}

func (l *loading) needToken(listen string) {
	text := fmt.Sprintf("listen = %q (%s): an address beyond loopback needs a token: set token_file or %sTOKEN", listen, l.report.Sources["listen"], envPrefix)
	if l.lax {
		l.warn("%s", text)
		return
	}
	l.problem("%s", text)
}

func parseEnviron(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	return env
}

func splitList(s string) []string {
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
