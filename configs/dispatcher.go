package configs

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// What a dispatcher can be set to, as worker.go has it of a worker.

// Dispatcher is the configuration of the program dispatcher.
type Dispatcher struct {
	Common
	Listen    string // host:port of the HTTP server; port 0 picks a free one
	Embedded  bool   // start a store in this process's memory
	TokenFile string // file that holds the bearer token; empty: none
	Token     Secret // from TokenFile or the environment
	QueueSpec        // how queues are made that are first named over HTTP

	Mode           string        // default mode of a resize: "key", "partition" or "ring"
	LeaseTTL       time.Duration // how long a worker counts as alive without a heartbeat
	LeaderLease    time.Duration // how long leadership lasts without renewal
	DetectInterval time.Duration // how often the leader looks for lost connections and, at most every 100 ms, for new queues
	ReleaseTimeout time.Duration // how long a worker may ignore a resize before it is evicted
}

// DefaultDispatcher is what a dispatcher runs with when nothing is said.
func DefaultDispatcher() Dispatcher {
	return Dispatcher{
		Common:    DefaultCommon(),
		Listen:    "127.0.0.1:7070", // loopback: going beyond it takes a token
		QueueSpec: defaultQueue(),
		Mode:      "key", // only keys that are running at the moment wait for a resize

		LeaseTTL:       defaultLeaseTTL,
		LeaderLease:    2 * time.Second,       // four renewals; a stand-by takes over within it
		DetectInterval: 30 * time.Millisecond, // two misses make a suspect: well under a tenth of a second
		ReleaseTimeout: 2 * time.Second,       // below the lease: a deaf worker goes before a dead one would
	}
}

// Fields implements Settings.
func (d *Dispatcher) Fields() []Field {
	f := d.Common.Fields()
	f = append(f,
		text("listen", "address of the HTTP server; port 0 picks a free one", &d.Listen, checkListen),
		boolean("embedded", "start a store in memory; jobs are lost when it exits", &d.Embedded),
		text("token_file", "file that holds the bearer token; needed beyond loopback", &d.TokenFile, nil),
		secretText("token", &d.Token),
	)
	f = append(f, d.QueueSpec.Fields()...)
	return append(f,
		choice("mode", "what waits during a resize", &d.Mode, "key", "partition", "ring"),
		leaseTTL(&d.LeaseTTL),
		duration("leader_lease", "how long leadership lasts without renewal", &d.LeaderLease, 500*time.Millisecond, 5*time.Minute),
		duration("detect_interval", "how often the leader looks for lost connections and, at most every 100ms, for new queues", &d.DetectInterval, 5*time.Millisecond, 10*time.Second),
		duration("release_timeout", "how long a worker may ignore a resize before it is evicted", &d.ReleaseTimeout, 100*time.Millisecond, 5*time.Minute),
	)
}

// Finish implements Settings.
func (d *Dispatcher) Finish(l *Review) {
	d.Common.Finish(l)
	l.secret("token", &d.Token, "token_file", d.TokenFile)
	if l.Good("token", "token_file") && d.Token != "" {
		switch {
		case !headerSafe(string(d.Token)):
			l.Problem("token (%s): want visible ASCII characters without spaces", l.Sources["token"])
		case len(d.Token) < 16:
			l.Warn("the token has fewer than 16 characters and can be guessed")
		}
	}
	if l.Good("listen", "token", "token_file") && !loopback(d.Listen) && d.Token == "" {
		l.needToken(d.Listen)
	}
	l.relate(3*d.DetectInterval <= d.LeaseTTL, "detect_interval", d.DetectInterval, "at most a third of", "lease_ttl", d.LeaseTTL,
		"a lost connection is to be seen before the lease ends")
}

// Check is Common.Check for a dispatcher.
func (d *Dispatcher) Check() error { return check(d) }

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("want host:port, such as 127.0.0.1:7070 or [::1]:7070")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("want a port from 0 to 65535 after the last colon")
	}
	for _, r := range host {
		if r <= ' ' || r == '/' || r == '@' {
			return fmt.Errorf("want host:port without a scheme, a user or a path")
		}
	}
	return nil
}

// loopback reports whether only this machine can reach the address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
