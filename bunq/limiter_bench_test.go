package bunq_test

import (
	"context"
	"testing"
	"time"

	"bunq_exporter/bunq"
)

// BenchmarkLimiter is what a turn costs beside the time that bunq's limits make it wait.
func BenchmarkLimiter(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.Run("free", func(b *testing.B) {
		line, leave := bunq.NewLine(ctx, 0)
		leave()
		b.ReportAllocs()
		for b.Loop() {
			line.Join()()
		}
	})
	b.Run("waiting=100", func(b *testing.B) {
		line, leave := bunq.NewLine(ctx, 100)
		b.ReportAllocs()
		for b.Loop() {
			next := line.Join() // goes before the others: its client was never served
			leave()
			leave = next
		}
	})
}
