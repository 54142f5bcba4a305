package memconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWritesWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair()
		large := bytes.Repeat([]byte("x"), 4<<20)
		for _, c := range []net.Conn{a, b} { // both first
			if n, err := c.Write(large); n != len(large) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		_ = a.Close()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := b.Write(large); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write to who has closed: %v", err)
		}
		if _, err := a.Write(large); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after Close: %v", err)
		}
		if _, err := a.Read(large); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read after Close: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair()
		began := time.Now()
		_ = a.SetReadDeadline(began.Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		var timeout net.Error
		if !errors.As(os.ErrDeadlineExceeded, &timeout) || !timeout.Timeout() {
			t.Error("it is no time-out")
		}
		// A deadline that moves, also while somebody reads.
		_ = a.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		}()
		began = time.Now()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_ = b.SetWriteDeadline(time.Now())
		if _, err := b.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after its deadline: %v", err)
		}
	})
}

func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair()
		_, _ = a.Write([]byte("before "))
		a.Hold(true)
		_, _ = a.Write([]byte("during"))
		_ = a.Close()
		_ = b.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := b.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something arrives: %v", err)
		}
		if _, err := b.Write([]byte("x")); err != nil {
			t.Errorf("a write into the silence: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { a.Hold(false) })
		if got, err := io.ReadAll(b); err != nil || string(got) != "before during" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pair()
		if _, err := a.SyscallConn(); err != nil {
			t.Errorf("it stands: %v", err)
		}
		_, _ = a.Write([]byte("lost"))
		time.AfterFunc(time.Hour, a.Cut)
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		synctest.Wait() // until both directions are cut
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("what was on its way has arrived: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write: %v", err)
		}
		if _, err := a.SyscallConn(); err == nil || !a.Ended() {
			t.Error("it stands")
		}
	})
}

func TestOnWrite(t *testing.T) {
	a, b := Pair()
	a.OnWrite(func(p []byte) bool { return string(p) != "lost" })
	for _, s := range []string{"one ", "lost", "two"} {
		if n, err := a.Write([]byte(s)); n != len(s) || err != nil {
			t.Error(n, err)
		}
	}
	_ = a.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != "one two" {
		t.Errorf("%q, %v", got, err)
	}
}
