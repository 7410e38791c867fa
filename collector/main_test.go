package collector_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the tests for goroutines that are left behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
