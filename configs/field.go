package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// field is one flat key of a program's settings, bound to the variable that holds it.
// Values arrive as text: one string, or several for a list.
type field struct {
	key    string
	flag   string // name of the flag; empty: the key with '-' for '_'
	short  string // one-letter flag, if any
	kind   string // word for the value in a flag's help
	help   string
	list   bool
	secret bool                 // from the environment only; never shown
	hide   func(string) string  // takes secrets out of a value before it is shown
	set    func([]string) error // the error says what is allowed, not what was given
	show   func() string        // the present value, as a user would write it
}

func (f field) flagName() string {
	if f.flag != "" {
		return f.flag
	}
	return strings.ReplaceAll(f.key, "_", "-")
}

func (f field) envName() string { return envPrefix + strings.ToUpper(f.key) }

// display is a given value as an error may quote it.
func (f field) display(given []string) string {
	if f.secret {
		return redacted
	}
	text := strings.Join(given, ",")
	if f.hide != nil {
		text = f.hide(text)
	}
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strconv.Quote(text)
}

func text(key, help string, p *string, check func(string) error) field {
	return field{key: key, kind: "string", help: help, show: func() string { return *p },
		set: func(given []string) error {
			if check != nil {
				if err := check(given[0]); err != nil {
					return err
				}
			}
			*p = given[0]
			return nil
		}}
}

func name(key, help string, p *string, emptyAllowed bool) field {
	return text(key, help, p, func(s string) error {
		if job.ValidName(s) || (s == "" && emptyAllowed) {
			return nil
		}
		return fmt.Errorf("want a letter or digit, then up to 63 letters, digits, '_' or '-'")
	})
}

func choice(key, help string, p *string, allowed ...string) field {
	options := strings.Join(allowed, "|")
	f := text(key, help+": "+options, p, func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return fmt.Errorf("want one of %s", options)
	})
	return f
}

func names(key, flag, help string, p *[]string) field {
	return field{key: key, flag: flag, kind: "name", help: help, list: true,
		show: func() string { return strings.Join(*p, ",") },
		set: func(given []string) error {
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

func number(key, help string, p *int, low, high int) field {
	return field{key: key, kind: "number", help: help, show: func() string { return strconv.Itoa(*p) },
		set: func(given []string) error {
			n, err := strconv.Atoi(given[0])
			if err != nil || n < low || n > high {
				return fmt.Errorf("want a whole number from %d to %d", low, high)
			}
			*p = n
			return nil
		}}
}

func boolean(key, help string, p *bool) field {
	return field{key: key, kind: "bool", help: help, show: func() string { return strconv.FormatBool(*p) },
		set: func(given []string) error {
			b, err := parseBool(given[0])
			if err != nil {
				return err
			}
			*p = b
			return nil
		}}
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("want true or false")
}

func duration(key, help string, p *time.Duration, low, high time.Duration) field {
	return field{key: key, kind: "duration", help: help, show: func() string { return formatDuration(*p) },
		set: func(given []string) error {
			d, err := parseDuration(given[0], low, high)
			if err != nil {
				return err
			}
			*p = d
			return nil
		}}
}

// parseDuration refuses bare numbers: half of the world would read 3 as seconds, and
// Go as nanoseconds.
func parseDuration(s string, low, high time.Duration) (time.Duration, error) {
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

func secretText(key string, p *Secret) field {
	return field{key: key, secret: true, list: false,
		show: func() string {
			if *p == "" {
				return ""
			}
			return "(set)"
		},
		set: func(given []string) error {
			*p = Secret(given[0])
			return nil
		}}
}
