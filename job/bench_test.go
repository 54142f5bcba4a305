package job

import (
	"strconv"
	"strings"
	"testing"
)

// BenchmarkDecodeEntry reads one entry of 100 bytes as it stands in a stream.
func BenchmarkDecodeEntry(b *testing.B) {
	payload := strconv.Quote(strings.Repeat("x", 98))
	key := "customer-42"
	for _, bb := range []struct {
		name   string
		fields []string
	}{
		{"unkeyed", []string{"type", "work", "payload", payload}},
		{"keyed", []string{"type", "work", "key", key, "payload", payload}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			p := PartitionOf(key, DefaultParts)
			for b.Loop() {
				if e := DecodeEntry(EntryID{Ms: 1}, bb.fields, p, DefaultParts); e.Broken != nil {
					b.Fatal(e.Broken.Why)
				}
			}
		})
	}
}
