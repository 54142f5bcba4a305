package ring

import (
	"cmp"
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"
)

// compareSeats is negative if the ring prefers x to y for partition p.
func compareSeats(p int, x, y *seat, equalWeights bool) int {
	hx, hy := mix(x.hash, p), mix(y.hash, p)
	c := cmp.Compare(hy, hx)
	if !equalWeights && x.weight != y.weight {
		c = cmp.Compare(score(hy, y.weight), score(hx, x.weight))
	}
	return cmp.Or(c, cmp.Compare(x.slot, y.slot), cmp.Compare(x.id, y.id))
}

// score is the weighted rendezvous score of a uniform hash: the chance to be highest
// is proportional to the weight.
func score(h uint64, weight int) float64 {
	u := (float64(h>>11) + 0.5) / (1 << 53) // in (0,1), never 0 or 1
	return -float64(weight) / math.Log(u)
}

func hashSlot(slot string) uint64 { return xxhash.Sum64String(slot) }

// mix hashes a slot with a partition. The slot's hash comes in ready, because the
// inner loop of Assign runs partitions x members times.
func mix(slot uint64, partition int) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], slot)
	binary.LittleEndian.PutUint64(b[8:], uint64(partition))
	return xxhash.Sum64(b[:])
}
