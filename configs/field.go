package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// EnvPrefix is what the name of every variable with a setting begins with.
const EnvPrefix = "RINGMASTER_"

// Field is one flat key of a program's settings, bound to the variable that holds it.
// Values arrive as text: one string, or several for a list.
type Field struct {
	Key    string
	Flag   string // name of the flag; empty: the key with '-' for '_'
	Short  string // one-letter flag, if any
	Kind   string // word for the value in a flag's help
	Help   string
	List   bool
	Secret bool                 // from the environment only; never shown
	Hide   func(string) string  // takes secrets out of a value before it is shown
	Set    func([]string) error // the error says what is allowed, not what was given
	Show   func() string        // the present value, as a user would write it
}

// FlagName is the name of its flag, without dashes.
func (f Field) FlagName() string {
	if f.Flag != "" {
		return f.Flag
	}
	return strings.ReplaceAll(f.Key, "_", "-")
}

// EnvName is the name of its variable.
func (f Field) EnvName() string { return EnvPrefix + strings.ToUpper(f.Key) }

// Given is what Set takes of a text: the members of a list, separated by commas, or the text.
func (f Field) Given(text string) []string {
	if !f.List {
		return []string{text}
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// display is a given value as an error may quote it.
func (f Field) display(given []string) string {
	if f.Secret {
		return redacted
	}
	text := strings.Join(given, ",")
	if f.Hide != nil {
		text = f.Hide(text)
	}
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strconv.Quote(text)
}

func text(key, help string, p *string, check func(string) error) Field {
	return Field{Key: key, Kind: "string", Help: help, Show: func() string { return *p },
		Set: func(given []string) error {
			if check != nil {
				if err := check(given[0]); err != nil {
					return err
				}
			}
			*p = given[0]
			return nil
		}}
}

func name(key, help string, p *string, emptyAllowed bool) Field {
	return text(key, help, p, func(s string) error {
		if job.ValidName(s) || (s == "" && emptyAllowed) {
			return nil
		}
		return fmt.Errorf("want a letter or digit, then up to 63 letters, digits, '_' or '-'")
	})
}

func choice(key, help string, p *string, allowed ...string) Field {
	options := strings.Join(allowed, "|")
	f := text(key, help+": "+options, p, func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return fmt.Errorf("want one of %s", options)
	})
	return f
}

func names(key, flag, help string, p *[]string) Field {
	return Field{Key: key, Flag: flag, Kind: "name", Help: help, List: true,
		Show: func() string { return strings.Join(*p, ",") },
		Set: func(given []string) error {
			for i, s := range given {
				if !job.ValidName(s) {
					return fmt.Errorf("%q is no name: want a letter or digit, then up to 63 letters, digits, '_' or '-'", s)
				}
				if slices.Contains(given[:i], s) {
					return fmt.Errorf("%q is there twice", s)
				}
			}
			*p = given
			return nil
		}}
}

func number(key, help string, p *int, low, high int) Field {
	return Field{Key: key, Kind: "number", Help: help, Show: func() string { return strconv.Itoa(*p) },
		Set: func(given []string) error {
			n, err := strconv.Atoi(given[0])
			if err != nil || n < low || n > high {
				return fmt.Errorf("want a whole number from %d to %d", low, high)
			}
			*p = n
			return nil
		}}
}

func boolean(key, help string, p *bool) Field {
	return Field{Key: key, Kind: "bool", Help: help, Show: func() string { return strconv.FormatBool(*p) },
		Set: func(given []string) error {
			if given[0] != "true" && given[0] != "false" {
				return fmt.Errorf("want true or false")
			}
			*p = given[0] == "true"
			return nil
		}}
}

func duration(key, help string, p *time.Duration, low, high time.Duration) Field {
	return Field{Key: key, Kind: "duration", Help: help, Show: func() string { return formatDuration(*p) },
		Set: func(given []string) error {
			d, err := ParseDuration(given[0], low, high)
			if err != nil {
				return err
			}
			*p = d
			return nil
		}}
}

// ParseDuration reads a duration from low to high. It refuses bare numbers: half of the world would read 3 as seconds, and
// Go as nanoseconds.
func ParseDuration(s string, low, high time.Duration) (time.Duration, error) {
	want := fmt.Sprintf("want a duration from %s to %s, such as 500ms, 3s or 1h30m", formatDuration(low), formatDuration(high))
	if _, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return 0, fmt.Errorf("the unit is missing: write %ss for seconds; %s", strings.TrimPrefix(s, "-"), want)
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("%s", want)
	}
	return d, nil
}

// formatDuration is d without the zero parts that Go appends: 10m, not 10m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func secretText(key string, p *Secret) Field {
	return Field{Key: key, Secret: true, List: false,
		Show: func() string {
			if *p == "" {
				return ""
			}
			return "(set)"
		},
		Set: func(given []string) error {
			*p = Secret(given[0])
			return nil
		}}
}
