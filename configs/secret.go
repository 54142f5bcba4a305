package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const redacted = "***"

// Secret is text that no format verb, encoder or logger shows. Convert it with
// string(s) where it is used.
type Secret string

// Format writes *** for every verb, nothing if s is empty.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String is *** or, if s is empty, nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// MarshalText is String, for encoders and for log/slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const maxSecretBytes = 64 << 10

// readSecret reads a secret's file without its trailing newline. The warning is not
// empty if others than the owner may read or change the file.
func readSecret(path string) (s Secret, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", cause(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", "", cause(err)
	}
	if info.IsDir() {
		return "", "", fmt.Errorf("it is a directory: want a file that holds the secret alone")
	}
	if mode := info.Mode().Perm(); mode&^0o600 != 0 && info.Mode().IsRegular() {
		warning = fmt.Sprintf("%s has mode %04o: others than its owner may use it; run chmod 600 on it", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return "", "", cause(err)
	}
	if len(b) > maxSecretBytes {
		return "", "", fmt.Errorf("it is larger than %d bytes: want a file that holds the secret alone", maxSecretBytes)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", "", fmt.Errorf("it is empty")
	}
	return Secret(text), warning, nil
}

// secret fills *p, which the environment may have set already, from the file at path.
// It reports whether the file was taken. A flag names a file and so beats the environment, which beats a file named in a file.
func (r *Review) secret(key string, p *Secret, fileKey, path string) bool {
	if path == "" {
		return false
	}
	from, direct := r.Sources[fileKey], r.Sources[key]
	if direct.Kind == FromEnvironment {
		switch from.Kind {
		case FromEnvironment:
			r.Fail(key)
			r.Problem("%s and %s are both set: unset one of them", direct.Name, from.Name)
			return false
		case FromFile:
			return false
		case FromDefault, FromFlag:
		}
	}
	s, warning, err := readSecret(path)
	if err != nil {
		r.Fail(key)
		r.Problem("%s = %q (%s): %v", fileKey, path, from, err)
		return false
	}
	if warning != "" {
		r.Warn("%s: %s", fileKey, warning)
	}
	*p = s
	r.Sources[key] = from
	return true
}

// cause is a file error without the path, which the caller names itself.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
