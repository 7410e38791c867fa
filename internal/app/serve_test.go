package app

import (
	"testing"
	"time"
)

// No client may keep a connection for ever.
func TestServerTimeLimits(t *testing.T) {
	server := newServer(nil)
	for name, limit := range map[string]time.Duration{
		"ReadHeaderTimeout": server.ReadHeaderTimeout,
		"ReadTimeout":       server.ReadTimeout,
		"WriteTimeout":      server.WriteTimeout,
		"IdleTimeout":       server.IdleTimeout,
	} {
		if limit <= 0 || limit > 5*time.Minute {
			t.Errorf("%s is %s", name, limit)
		}
	}
}
