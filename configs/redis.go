package configs

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is a Redis address taken apart.
type Endpoint struct {
	Mode     string   // "standalone", "sentinel" or "cluster"
	Addrs    []string // host:port; one, unless Mode says otherwise
	Username string
	Password Secret
	DB       int
	TLS      bool   // rediss://
	Master   string // name that the sentinels know the master by
}

// Endpoint takes Redis apart and adds the password from its file or the environment.
// It does no I/O. The error never quotes the address.
func (c Common) Endpoint() (Endpoint, error) {
	e, err := parseRedis(c.Redis, c.RedisMode)
	if err == nil && c.RedisPassword != "" {
		e.Password = c.RedisPassword
	}
	return e, err
}

// RedactURL is a Redis address, or a list of them, without passwords and unknown
// parameters. It also takes them out of text that is no URL.
func RedactURL(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		scheme := ""
		if i := strings.Index(s, "://"); i >= 0 && i < at {
			scheme = s[:i+3]
		}
		s = scheme + redacted + s[at:]
	}
	if q := strings.IndexByte(s, '?'); q >= 0 {
		if query := s[q+1:]; !strings.HasPrefix(query, "master_name=") || strings.Contains(query, "&") {
			s = s[:q+1] + redacted
		}
	}
	return s
}

// parseRedis reads one URL, or in the modes sentinel and cluster a list, whose further
// members may be bare host:port. User, password, database and master are the first's.
func parseRedis(raw, mode string) (Endpoint, error) {
	if mode == "standalone" {
		return parseRedisURL(raw, mode)
	}
	var first Endpoint
	for i, part := range strings.Split(raw, ",") {
		part = strings.TrimSpace(part)
		if i == 0 {
			e, err := parseRedisURL(part, mode)
			if err != nil {
				return Endpoint{}, err
			}
			first = e
			continue
		}
		if !strings.Contains(part, "://") {
			part = scheme(first.TLS) + "://" + part
		}
		e, err := parseRedisURL(part, mode)
		if err != nil {
			return Endpoint{}, fmt.Errorf("address %d: %w", i+1, err)
		}
		if e.TLS != first.TLS {
			return Endpoint{}, fmt.Errorf("address %d: redis:// and rediss:// cannot be mixed", i+1)
		}
		if (e.Username != "" && e.Username != first.Username) || (e.Password != "" && e.Password != first.Password) ||
			(e.DB != 0 && e.DB != first.DB) || (e.Master != "" && e.Master != first.Master) {
			return Endpoint{}, fmt.Errorf("address %d: user, password, database and master_name belong to the first address", i+1)
		}
		first.Addrs = append(first.Addrs, e.Addrs...)
	}
	if mode == "sentinel" && first.Master == "" {
		return Endpoint{}, fmt.Errorf("redis_mode sentinel needs the master's name: redis://host:26379/?master_name=NAME")
	}
	if mode == "cluster" && first.DB != 0 {
		return Endpoint{}, fmt.Errorf("a cluster has database 0 only")
	}
	return first, nil
}

func scheme(tls bool) string {
	if tls {
		return "rediss"
	}
	return "redis"
}

// parseRedisURL never wraps net/url's errors: they quote the password.
func parseRedisURL(raw, mode string) (Endpoint, error) {
	const want = "want redis://[user:password@]host[:port][/database], or rediss:// for TLS"
	e := Endpoint{Mode: mode}
	u, err := url.Parse(raw)
	if err != nil {
		if strings.Contains(raw, "@") {
			return e, fmt.Errorf("%s; in the password the characters @ : / ? # %% must be percent-encoded, or use redis_password_file", want)
		}
		return e, fmt.Errorf("%s", want)
	}
	switch u.Scheme {
	case "redis":
	case "rediss":
		e.TLS = true
	default:
		return e, fmt.Errorf("%s", want)
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case strings.Contains(u.Host, ","):
		return e, fmt.Errorf("several addresses need redis_mode cluster or sentinel")
	case host == "" || u.Opaque != "":
		return e, fmt.Errorf("the host is missing: %s", want)
	case strings.ContainsAny(host, " \t\r\n") || u.Fragment != "":
		return e, fmt.Errorf("%s", want)
	case port == "" && mode == "sentinel":
		port = "26379"
	case port == "":
		port = "6379"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return e, fmt.Errorf("want a port from 1 to 65535")
	}
	e.Addrs = []string{net.JoinHostPort(host, port)}
	if u.User != nil {
		password, _ := u.User.Password()
		e.Username, e.Password = u.User.Username(), Secret(password)
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if e.DB, err = strconv.Atoi(db); err != nil || e.DB < 0 || e.DB > 65535 {
			return Endpoint{}, fmt.Errorf("after the host want the number of a database, 0 or more")
		}
	}
	return e, e.setQuery(u)
}

func (e *Endpoint) setQuery(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("what follows the '?' cannot be read")
	}
	e.Master = query.Get("master_name")
	delete(query, "master_name")
	if len(query) > 0 || (e.Master != "" && e.Mode != "sentinel") {
		return fmt.Errorf("after '?' only master_name is known, and only with redis_mode sentinel")
	}
	return nil
}
