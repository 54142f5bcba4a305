package configs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLSFiles say what a connection by rediss:// trusts and shows. Empty: the system's authorities, no
// certificate of its own, the name in the address.
type TLSFiles struct {
	CA         string // file with certificates of authorities, PEM
	Cert, Key  string // files with the client's certificate and its key, PEM
	ServerName string // that the server's certificate is to have
}

func (t TLSFiles) set() bool { return t != TLSFiles{} }

// Config reads the files. The client's certificate is read again for each new connection, so that one
// that is renewed needs no restart; the authorities are read now.
func (t TLSFiles) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("redis_ca_file: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis_ca_file: %s has no certificate in PEM form", t.CA)
		}
	}
	if t.Cert == "" && t.Key == "" {
		return c, nil
	}
	if t.Cert == "" || t.Key == "" {
		return nil, fmt.Errorf("redis_cert_file and redis_key_file belong together: one is missing")
	}
	if _, err := t.pair(); err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.pair() }
	return c, nil
}

func (t TLSFiles) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("redis_cert_file, redis_key_file: %w", err)
	}
	return &pair, nil
}

// Credentials gives the user and password for a new connection; nil if they do not come from a file.
// A file is read each time: its password may have been replaced.
func (c Common) Credentials() func(context.Context) (user, password string, err error) {
	e, err := parseRedis(c.Redis, c.RedisMode)
	if c.passwordFrom == "" || err != nil {
		return nil
	}
	file := c.passwordFrom
	return func(context.Context) (string, string, error) {
		s, _, err := readSecret(file)
		if err != nil {
			return "", "", fmt.Errorf("redis_password_file %s: %w", file, err)
		}
		return e.Username, string(s), nil
	}
}

func (c *Common) finishTLS(l *Review) {
	l.secret("sentinel_password", &c.SentinelPassword, "sentinel_password_file", c.SentinelPasswordFile)
	if !l.Good("redis", "redis_mode") {
		return
	}
	e, err := parseRedis(c.Redis, c.RedisMode)
	if err != nil {
		return
	}
	if c.TLS.set() && !e.TLS {
		l.Problem("redis_ca_file, redis_cert_file, redis_key_file and redis_server_name are for TLS: write rediss:// in redis")
	} else if _, err := c.TLS.Config(); err != nil {
		l.Problem("%v", err)
	}
	if (c.SentinelPassword != "" || c.SentinelUsername != "") && c.RedisMode != "sentinel" {
		l.Warn("sentinel_username and sentinel_password_file mean something with redis_mode sentinel only")
	}
}
