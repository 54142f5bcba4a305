// Package load reads the settings of the three programs: from flags, from the
// environment, from one file and from defaults, in that order of precedence. It is the
// only user of viper. Nothing here is global: every load starts from the arguments it
// is given, so loads may run concurrently.
package load

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"ringmaster/configs"
)

// Report is what a load has to tell besides the values.
type Report struct {
	Sources  configs.Sources
	Warnings []string // worth logging, not worth stopping for
}

// Dispatcher loads the settings of a dispatcher. Flags may be nil; of those there,
// only the ones that were typed count. An empty file name reads no file. The
// environment is a list of NAME=value, as os.Environ returns it; empty values count as
// unset. The error, an ErrInvalid, has one line for each problem found. It reads the
// config file and the files of secrets.
func Dispatcher(flags *pflag.FlagSet, file string, environ []string) (configs.Dispatcher, Report, error) {
	d := configs.DefaultDispatcher()
	report, err := load(&d, flags, file, environ, false)
	if err != nil {
		return configs.Dispatcher{}, report, err
	}
	return d, report, nil
}

// Worker is Dispatcher for a worker. A worker without a queue or without any
// handler is an error.
func Worker(flags *pflag.FlagSet, file string, environ []string) (configs.Worker, Report, error) {
	return loadWorker(flags, file, environ, false)
}

// Dev is Worker for a program that adds queues and handlers of its own: the
// settings need name neither.
func Dev(flags *pflag.FlagSet, file string, environ []string) (configs.Worker, Report, error) {
	return loadWorker(flags, file, environ, true)
}

func loadWorker(flags *pflag.FlagSet, file string, environ []string, lax bool) (configs.Worker, Report, error) {
	w := configs.DefaultWorker()
	report, err := load(&w, flags, file, environ, lax)
	if err != nil {
		return configs.Worker{}, report, err
	}
	return w, report, nil
}

// Ringctl is Dispatcher for ringctl.
func Ringctl(flags *pflag.FlagSet, file string, environ []string) (configs.Ringctl, Report, error) {
	r := configs.DefaultRingctl()
	report, err := load(&r, flags, file, environ, false)
	if err != nil {
		return configs.Ringctl{}, report, err
	}
	return r, report, nil
}

// loading is one load under way. It goes on after a problem, to find the others.
type loading struct {
	*configs.Review
	flags *pflag.FlagSet
	file  document
	env   map[string]string
}

func load(s configs.Settings, flags *pflag.FlagSet, file string, environ []string, lax bool) (Report, error) {
	l := &loading{Review: configs.NewReview(lax), flags: flags, env: parseEnviron(environ)}
	if file != "" {
		var problems []error
		l.file, problems = readDocument(file)
		l.Join(problems...)
		if len(problems) > 0 && len(l.file.entries) == 0 {
			// Nothing was read: what seems missing may well be there.
			l.Fail(allKeys()...)
		}
	}
	fields := s.Fields()
	merged, err := l.merge(fields)
	if err != nil {
		return l.report(), err
	}
	for _, f := range fields {
		l.assign(f, merged)
	}
	if w, ok := s.(*configs.Worker); ok {
		w.Handlers = l.handlers(w.Builtin)
	}
	s.Finish(l.Review)
	l.misspelt()
	return l.report(), l.Err()
}

func (l *loading) report() Report { return Report{Sources: l.Sources, Warnings: l.Warnings} }

// merge lays the layers over each other. Viper sees known keys and plain text only: its
// own conversions read 3 as three nanoseconds and "abc" as 0, and it lower-cases keys.
func (l *loading) merge(fields []configs.Field) (*viper.Viper, error) {
	v := viper.New()
	inFile, inEnv := map[string]any{}, map[string]any{}
	for _, f := range fields {
		if e, ok := l.file.entry(f.Key); ok && !f.Secret {
			if given, err := e.texts(f); err != nil {
				l.Fail(f.Key)
				l.Problem("%s (%s): %v", f.Key, l.file.source(e.line), err)
			} else {
				inFile[f.Key] = given
				l.Sources[f.Key] = l.file.source(e.line)
			}
		}
		if text := l.env[f.EnvName()]; text != "" {
			inEnv[f.Key] = f.Given(text)
			l.Sources[f.Key] = configs.Source{Kind: configs.FromEnvironment, Name: f.EnvName()}
		}
		if flag := l.typed(f); flag != nil {
			if err := v.BindPFlag(f.Key, flag); err != nil {
				return nil, fmt.Errorf("bind flag --%s: %w", flag.Name, err)
			}
			l.Sources[f.Key] = configs.Source{Kind: configs.FromFlag, Name: "--" + flag.Name}
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
func (l *loading) typed(f configs.Field) *pflag.Flag {
	if l.flags == nil || f.Secret {
		return nil
	}
	flag := l.flags.Lookup(f.FlagName())
	if flag == nil || !flag.Changed {
		return nil
	}
	return flag
}

func (l *loading) assign(f configs.Field, merged *viper.Viper) {
	if _, ok := l.Sources[f.Key]; !ok {
		return
	}
	switch raw := merged.Get(f.Key).(type) {
	case []string:
		l.Assign(f, raw)
	case string:
		l.Assign(f, f.Given(raw))
	default:
		l.Assign(f, []string{fmt.Sprint(raw)})
	}
}

func parseEnviron(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, configs.EnvPrefix) {
			env[name] = value
		}
	}
	return env
}
