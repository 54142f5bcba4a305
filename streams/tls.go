package streams

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// tlsDialer makes connections by TLS that both sides have agreed to. A server may refuse a client's
// certificate only when it reads from the client (TLS 1.3, RFC 8446 appendix E.1.2), so each
// connection asks one question before it is used: what fails then was no command.
func tlsDialer(cfg *tls.Config, timeout time.Duration) dialer {
	plain := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{NetDialer: plain, Config: cfg}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, dialError(err)
		}
		if err := agreed(conn, timeout); err != nil {
			_ = conn.Close()
			return nil, dialError(err)
		}
		return conn, nil
	}
}

// agreed asks for a line, whatever it says.
func agreed(conn net.Conn, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := conn.Write([]byte("PING\r\n"))
	for b := []byte{0}; err == nil && b[0] != '\n'; {
		_, err = conn.Read(b)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}
