package bench

import (
	"testing"
	"time"

	"ringmaster/internal/redistest"
)

// Members join a ring and get their share; what the server does meanwhile is seen, and its
// settings are as before.
func TestScale(t *testing.T) {
	server := redistest.Real(t, "--slowlog-log-slower-than", "12345")
	o := DefaultScale()
	o.Rings, o.Joins, o.Rest, o.Redis = []RingSize{{8, 4}, {10, 64}}, 2, 300*time.Millisecond, server.URL()
	all, err := RunScale(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if s.Members != o.Rings[i].Members || s.Join <= 0 || s.StallMax < s.Stall || s.Ping <= 0 || s.Rest <= 0 {
			t.Errorf("%+v", s)
		}
	}
	// A plan of healthy moves waits until the members have been still for 100 ms.
	if all[1].Join < 90 || all[1].StallMax <= 0 {
		t.Errorf("a member that gets its share: %+v", all[1])
	}
	nothingLeft(t, server)
	c := server.Client()
	defer func() { _ = c.Close() }()
	if v := c.ConfigGet(t.Context(), "slowlog-log-slower-than").Val()["slowlog-log-slower-than"]; v != "12345" {
		t.Errorf("the server's setting is %s now", v)
	}
}
