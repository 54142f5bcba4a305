package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// usage is what the operating system has counted until a moment.
type usage struct {
	at     time.Time
	took   time.Duration // since the moment it is compared to
	client time.Duration // CPU of this process and its children
	server time.Duration // CPU of the Redis process, by its own getrusage
	busy   time.Duration // CPU of the whole machine, zero where it does not tell
	stolen time.Duration // what the hypervisor took
}

// measure reads all counters.
func measure(ctx context.Context, server *redis.Client) (usage, error) {
	u := usage{at: time.Now(), client: processTime()}
	info, err := server.Info(ctx, "cpu").Result()
	if err != nil {
		return u, fmt.Errorf("read the server's CPU time: %w", err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		s, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return u, fmt.Errorf("read the server's CPU time: %w", err)
		}
		u.server += time.Duration(s * float64(time.Second))
	}
	u.busy, u.stolen = machineTime()
	return u, nil
}

// since is what was used between two moments.
func (u usage) since(before usage) usage {
	return usage{took: u.at.Sub(before.at), client: u.client - before.client, server: u.server - before.server, busy: u.busy - before.busy, stolen: u.stolen - before.stolen}
}

// others is how many CPUs neither this process nor the server took. Zero where the machine
// does not tell.
func (u usage) others() float64 {
	if u.busy == 0 {
		return 0
	}
	return max(0, (u.busy+u.stolen-u.client-u.server).Seconds()/u.took.Seconds())
}

// processTime is the user and system time of this process, and of its children that have
// been waited for.
func processTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) != nil {
			return 0
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// tick is the unit of /proc/stat, USER_HZ, which Linux has fixed at 100 for programs.
const tick = 10 * time.Millisecond

// machineTime reads the first line of /proc/stat: user nice system idle iowait irq softirq steal.
func machineTime() (busy, stolen time.Duration) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(f).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 9 {
		return 0, 0
	}
	for i, v := range fields[1:9] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, 0
		}
		switch i {
		case 3, 4: // idle
		case 7:
			stolen += time.Duration(n) * tick
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, stolen
}
