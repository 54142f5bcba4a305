package streams

import "testing"

func TestVersionsThatAreARisk(t *testing.T) {
	const redis, valkey = "redis_git_sha1:0\r\n", "server_name:valkey\r\nvalkey_version:8.0.1\r\n"
	for name, c := range map[string]struct {
		info           string
		alone, cluster bool
	}{
		"too old":                    {"redis_version:6.2.14\r\n" + redis, true, true},
		"7.0":                        {"redis_version:7.0.15\r\n" + redis, false, false},
		"crashes when slots move":    {"redis_version:7.2.6\r\n" + redis, false, true},
		"mended":                     {"redis_version:7.2.7\r\n" + redis, false, false},
		"Valkey, which names itself": {"redis_version:7.2.4\r\n" + valkey, false, false},
		"says nothing":               {"", false, false},
	} {
		for cluster, want := range map[bool]bool{false: c.alone, true: c.cluster} {
			if got := versionRisk("# Server\r\n"+c.info, cluster); (len(got) > 0) != want {
				t.Errorf("%s, cluster %v: %v", name, cluster, got)
			}
		}
	}
}
