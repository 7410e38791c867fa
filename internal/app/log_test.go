package app

import (
	"testing"
	"testing/synctest"
	"time"
)

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// A line just after another one must not wait for a third.
func TestLogLineNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := make(chan bool, 1)
		writer, _, flush := newLogWriter(writerFunc(func([]byte) { written <- true }))
		defer flush()
		for i := range 100_000 {
			_, _ = writer.Write([]byte("line\n"))
			select {
			case <-written:
			case <-time.After(time.Second):
				t.Fatalf("line %d is not written", i)
			}
		}
	})
}
