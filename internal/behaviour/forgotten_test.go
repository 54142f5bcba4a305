package behaviour

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
)

// TestTheFirstSubmissionsAfterASilentCutGoIn: the network between a dispatcher and the server forgets all
// connections and tells nobody, while nothing is under way. What is submitted next waits once for
// an answer that does not come, and goes in.
func TestTheFirstSubmissionsAfterASilentCutGoIn(t *testing.T) {
	server := redistest.Real(t)
	proxy := faultproxy.New(t, server.Addr())
	cfg := configs.DefaultDispatcher()
	cfg.Redis, cfg.Listen = proxy.URL(), "127.0.0.1:0"
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- service.RunDispatcher(ctx, cfg, service.Options{Log: testLog(t), Listening: func(addr string) { listening <- addr }})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	addr := <-listening
	burst := func(what string) {
		t.Helper()
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				body := strings.NewReader(fmt.Sprintf(`{"type":"t","key":"k%d","payload":%d}`, i, i))
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/queues/q/jobs", body)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				defer resp.Body.Close()
				if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
					t.Errorf("%s: %d %s", what, resp.StatusCode, said)
				}
			})
		}
		all.Wait()
	}
	proxy.Disturb(faultproxy.Noise{Min: 50 * time.Millisecond, Max: 50 * time.Millisecond}, 1) // the pool fills
	burst("before the cut")
	burst("before the cut")
	proxy.Disturb(faultproxy.Noise{}, 0)
	if n := proxy.Forget(); n < 4 {
		t.Fatalf("%d connections were forgotten", n)
	}
	burst("after the cut")
	begun := time.Now()
	burst("later")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("later ones took %v", took)
	}
}
