package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ringmaster/configs"
	"ringmaster/job"
)

// maxRetryAfter limits what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// HTTP returns a function that posts each attempt's payload, as JSON, to the URL; no
// payload is null. A nil client stands for one with default settings; of another's, the
// settings are used but for redirects, which are never followed.
//
// The headers Ringmaster-Job-Id, -Key, -Type, -Attempt and -Fence describe the job. The
// key is percent-encoded where a byte is not visible ASCII or is '%': decoding it always
// gives the key back. An unkeyed job has no such header.
//
// A status of 2xx completes the job with the body as its result; 400, 404, 410 and 422
// send it to the dead letters; after 429 and 503 the next attempt waits as Retry-After
// says, 24 hours at most; everything else is a failed attempt. A result of more than limit
// bytes, less one trailing newline, sends it to the dead letters too.
func HTTP(cfg configs.HTTP, limit int, client *http.Client) Func {
	own := http.Client{}
	if client != nil {
		own = *client
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return withTimeout(func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		return post(ctx, &own, cfg.URL, limit, d)
	}, cfg.Timeout)
}

// NewClient is a client for the HTTP handlers of a worker that runs up to concurrency jobs at
// once. Go's default keeps two idle connections to a host and dials anew for each post beyond
// them, until the machine has no ports left. CloseIdleConnections ends those it keeps.
func NewClient(concurrency int) *http.Client {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	t.MaxIdleConnsPerHost = concurrency
	t.IdleConnTimeout = idleConn
	t.TLSHandshakeTimeout = dialLimit
	t.DialContext = (&net.Dialer{Timeout: dialLimit}).DialContext
	return &http.Client{Transport: t}
}

const (
	idleConn  = 30 * time.Second
	dialLimit = 10 * time.Second
)

func post(ctx context.Context, client *http.Client, target string, limit int, d job.Delivery) (json.RawMessage, error) {
	payload := []byte(d.Payload)
	if len(payload) == 0 {
		payload = []byte("null")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("post: %w", plain(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ringmaster")
	req.Header.Set("Ringmaster-Job-Id", d.ID.String())
	if d.Key != "" {
		req.Header.Set("Ringmaster-Key", encodeKey(d.Key))
	}
	req.Header.Set("Ringmaster-Type", d.Type)
	req.Header.Set("Ringmaster-Attempt", strconv.Itoa(d.Attempt))
	req.Header.Set("Ringmaster-Fence", strconv.FormatUint(uint64(d.Fence), 10))

	resp, err := client.Do(req)
	if err != nil {
		return nil, ended(ctx, fmt.Errorf("post: %w", plain(err)))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+2))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refusal(resp, body, answered(resp, time.Now()))
	}
	if err != nil {
		return nil, ended(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return result(body, limit)
}

// answered is when an answer was made, by the clock of who made it: a date in it is of that clock.
func answered(resp *http.Response, now time.Time) time.Time {
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		return at
	}
	return now
}

// refusal makes the error of an answer that is not 2xx.
func refusal(resp *http.Response, body []byte, now time.Time) error {
	err := fmt.Errorf("the server answered %d", resp.StatusCode)
	if text := http.StatusText(resp.StatusCode); text != "" {
		err = fmt.Errorf("%w %s", err, text)
	}
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 {
		err = fmt.Errorf("%w: redirects are not followed", err)
	}
	err = with(err, body[:min(len(body), tailBytes)])
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return job.Skip(err)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if wait, ok := retryAfter(resp.Header.Get("Retry-After"), now); ok {
			return job.RetryAfter(err, wait)
		}
	}
	return err
}

// retryAfter reads seconds or a date. The second result is false if the header is
// absent, unreadable or names no time to come.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second, seconds > 0
	} else if errors.Is(err, strconv.ErrRange) {
		return maxRetryAfter, true
	}
	at, err := http.ParseTime(header)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return min(at.Sub(now), maxRetryAfter), true
}

// ended is why ctx ended if it did, else err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// plain takes the URL out of an error: it may hold secrets.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func encodeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c > ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
