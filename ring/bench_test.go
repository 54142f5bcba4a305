package ring

import (
	"fmt"
	"slices"
	"testing"
)

// BenchmarkAssign is what a leader computes for a plan: one member joins a full ring, and
// all members come to an empty one.
func BenchmarkAssign(b *testing.B) {
	for _, partitions := range []int{64, 512, 4096} {
		for _, n := range []int{3, 100, 1000} {
			members := equalMembers(n)
			before := Assign(partitions, members, nil)
			joined := append(slices.Clone(members), member(n, 1))
			size := fmt.Sprintf("partitions=%d/members=%d", partitions, n)
			b.Run("join/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Assign(partitions, joined, before)
				}
			})
			b.Run("first/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Assign(partitions, members, nil)
				}
			})
		}
	}
}
