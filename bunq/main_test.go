package bunq_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain gives the tests a local time that is not UTC, because context files hold local times, and fails them for
// goroutines that are left behind.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("here", 2*60*60+30*60)
	goleak.VerifyTestMain(m)
}
