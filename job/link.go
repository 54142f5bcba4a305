package job

import "time"

// SlowestLink is how many bytes a second a link to the server must carry. What is sent is
// waited for as much longer as it may be on its way at that speed.
const SlowestLink = 128 << 10

// OnItsWay is how long so many bytes may be on the slowest link.
func OnItsWay(bytes int) time.Duration {
	return time.Duration(bytes) * time.Second / SlowestLink
}

// Bytes is what jobs take on their way, without what surrounds them.
func Bytes(jobs []Job) int {
	n := 0
	for i := range jobs {
		n += len(jobs[i].Type) + len(jobs[i].Key) + len(jobs[i].Payload) + len(jobs[i].IdempotencyKey)
	}
	return n
}
