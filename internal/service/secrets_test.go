package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/configs/load"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// opened is a store by settings, as a program opens it.
func opened(t *testing.T, environ ...string) *streams.Store {
	t.Helper()
	cfg, _, err := load.Ringctl(nil, "", environ)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(cfg.Common, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func written(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestARotatedPasswordFileNeedsNoRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = admin.Close() }()
	password := func(p string) {
		if err := admin.ACLSetUser(t.Context(), "u", "reset", "on", ">"+p, "~*", "&*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
		_ = admin.ClientKillByFilter(t.Context(), "USER", "u").Err()
	}
	password("one")
	file := written(t, filepath.Join(t.TempDir(), "password"), "one\n")
	s := opened(t, "RINGMASTER_REDIS=redis://u@"+server.Addr(), "RINGMASTER_REDIS_PASSWORD_FILE="+file)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	password("two")
	if err := s.Writable(t.Context()); !errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) {
		// The first call may have met the end of its old connection.
		if err = s.Writable(t.Context()); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "redis_password_file") {
			t.Errorf("with the old password: %v", err)
		}
	}
	written(t, file, "two\n")
	if err := s.Writable(t.Context()); err != nil {
		t.Errorf("with the new one: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_ = admin.ClientKillByFilter(t.Context(), "USER", "u").Err()
	_ = s.Writable(t.Context())
	if err := s.Writable(t.Context()); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "redis_password_file") {
		t.Errorf("without the file: %v", err)
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.issue("authority", true)
	return a
}

// issue writes a certificate and its key.
func (a *authority) issue(name string, ca bool) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if ca {
		a.cert, a.key = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile = written(a.t, filepath.Join(a.dir, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})))
	return certFile, written(a.t, filepath.Join(a.dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestTLSWithOwnAuthorityAndClientCertificate(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.issue("redis.internal", false)
	cert, key := ours.issue("client", false)
	strange, strangeKey := others.issue("stranger", false)
	port := freePort(t)
	redistest.Real(t, "--tls-port", port, "--tls-cert-file", serverCert, "--tls-key-file", serverKey,
		"--tls-ca-cert-file", ours.file, "--tls-auth-clients", "yes")
	at := func(scheme string, more ...string) *streams.Store {
		return opened(t, append(more, "RINGMASTER_REDIS="+scheme+"://127.0.0.1:"+port)...)
	}
	trust := "RINGMASTER_REDIS_CA_FILE=" + ours.file
	name := "RINGMASTER_REDIS_SERVER_NAME=redis.internal"
	mine := []string{"RINGMASTER_REDIS_CERT_FILE=" + cert, "RINGMASTER_REDIS_KEY_FILE=" + key}
	s := at("rediss", append(mine, trust, name)...)
	if err := s.Writable(t.Context()); err != nil {
		t.Fatalf("all is right: %v", err)
	}
	if _, err := s.CreateQueue(t.Context(), streams.Queue{Name: "q", Partitions: 2}); err != nil {
		t.Error(err)
	}
	for what, bad := range map[string]*streams.Store{
		"an authority that is not trusted": at("rediss", append(mine, name)...),
		"another name":                     at("rediss", append(mine, trust)...),
		"no certificate":                   at("rediss", trust, name),
		"a stranger's certificate":         at("rediss", trust, name, "RINGMASTER_REDIS_CERT_FILE="+strange, "RINGMASTER_REDIS_KEY_FILE="+strangeKey),
	} {
		for range 3 {
			if err := bad.Writable(t.Context()); !errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for _, wrong := range [][]string{{trust, "RINGMASTER_REDIS=redis://h:1"}, {mine[0], "RINGMASTER_REDIS=rediss://h:1"},
		{"RINGMASTER_REDIS_CA_FILE=" + key, "RINGMASTER_REDIS=rediss://h:1"}, {"RINGMASTER_REDIS_CA_FILE=/none", "RINGMASTER_REDIS=rediss://h:1"}} {
		if _, _, err := load.Ringctl(nil, "", wrong); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}
