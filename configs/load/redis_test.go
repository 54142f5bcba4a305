package load

import (
	"fmt"
	"strings"
	"testing"

	"ringmaster/configs"
)

func TestCommon_Endpoint(t *testing.T) {
	tests := map[string]struct {
		url, mode string
		want      configs.Endpoint
		wants     string
	}{
		"plain":                    {url: "redis://h", want: configs.Endpoint{Addrs: []string{"h:6379"}}},
		"all parts":                {url: "rediss://u:p%40%3A%2F%25@h:1/5", want: configs.Endpoint{Addrs: []string{"h:1"}, Username: "u", Password: "p@:/%", DB: 5, TLS: true}},
		"IPv6":                     {url: "redis://[::1]:7/", want: configs.Endpoint{Addrs: []string{"[::1]:7"}}},
		"database 99":              {url: "redis://h/99", want: configs.Endpoint{Addrs: []string{"h:6379"}, DB: 99}},
		"cluster":                  {url: "rediss://:p@a:1,b:2, rediss://c:3", mode: "cluster", want: configs.Endpoint{Addrs: []string{"a:1", "b:2", "c:3"}, Password: "p", TLS: true}},
		"sentinel":                 {url: "redis://a/2?master_name=m,b:5", mode: "sentinel", want: configs.Endpoint{Addrs: []string{"a:26379", "b:5"}, DB: 2, Master: "m"}},
		"sentinel without a name":  {url: "redis://a", mode: "sentinel", wants: "needs the master's name"},
		"no scheme":                {url: "127.0.0.1:6379", wants: "want redis://"},
		"no scheme, named host":    {url: "localhost:6379", wants: "want redis://"},
		"empty":                    {url: " ", wants: "want redis://"},
		"other scheme":             {url: "http://h", wants: "want redis://"},
		"no host":                  {url: "redis://", wants: "the host is missing"},
		"no host but a port":       {url: "redis://:6379", wants: "the host is missing"},
		"port 0":                   {url: "redis://h:0", wants: "port from 1 to 65535"},
		"port 70000":               {url: "redis://h:70000", wants: "port from 1 to 65535"},
		"port abc":                 {url: "redis://h:abc", wants: "want redis://"},
		"database -1":              {url: "redis://h/-1", wants: "number of a database"},
		"database name":            {url: "redis://h/x", wants: "number of a database"},
		"user without password":    {url: "redis://u@h", wants: "a user without a password"},
		"raw / in a password":      {url: "redis://:" + canary + "/x@h", wants: "percent-encoded"},
		"raw % in a password":      {url: "redis://:" + canary + "%zz@h", wants: "percent-encoded"},
		"raw # in a password":      {url: "redis://:" + canary + "#x@h", wants: "percent-encoded"},
		"unknown parameter":        {url: "redis://h?password=" + canary, wants: "only master_name"},
		"list, standalone":         {url: "redis://a:1,b:2", wants: "redis_mode cluster or sentinel"},
		"list of URLs, standalone": {url: "redis://a,redis://b", wants: "redis_mode cluster or sentinel"},
		"cluster with database":    {url: "redis://a/1", mode: "cluster", wants: "database 0 only"},
		"cluster, mixed":           {url: "redis://a,rediss://b", mode: "cluster", wants: "address 2: redis:// and rediss://"},
		"cluster, late password":   {url: "redis://a,redis://:" + canary + "@b", mode: "cluster", wants: "address 2: user, password"},
		"cluster, empty member":    {url: "redis://a,,b", mode: "cluster", wants: "address 2: the host is missing"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.mode == "" {
				tc.mode = "standalone"
			}
			r, _, err := Ringctl(nil, "", []string{"RINGMASTER_REDIS=" + tc.url, "RINGMASTER_REDIS_MODE=" + tc.mode})
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows the password: %v", err)
			}
			if tc.wants != "" {
				wantLines(t, err, tc.wants)
				return
			}
			wantLines(t, err)
			got, err := r.Endpoint()
			tc.want.Mode = tc.mode
			if err != nil || show(got) != show(tc.want) {
				t.Errorf("= %s, %v, want %s", show(got), err, show(tc.want))
			}
		})
	}
}

func show(e configs.Endpoint) string { return fmt.Sprint(e, " ", string(e.Password)) }

func TestCommon_PasswordFileBeatsTheURL(t *testing.T) {
	file := write(t, canary+"\n")
	r, _, err := Ringctl(nil, write(t, "redis: redis://u:old@h\nredis_password_file: "+file), nil)
	wantLines(t, err)
	if e, err := r.Endpoint(); err != nil || string(e.Password) != canary || e.Username != "u" {
		t.Errorf("endpoint = %s, %v", show(e), err)
	}
	_, _, err = Ringctl(nil, "", []string{"RINGMASTER_REDIS=redis://u@h", "RINGMASTER_REDIS_PASSWORD=" + canary})
	wantLines(t, err)
}
