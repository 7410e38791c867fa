package test

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	e := start(t, "--demo")
	statusPage := e.find(`status page +(\S+)`)
	eventually(t, "the status page has data without a scrape", func() bool {
		return strings.Contains(get(t, statusPage), "bookkeeping sync")
	})
	expectLines(t, get(t, e.find(`metrics +(\S+)`)),
		`bunq_up{account="demo"} 1`,
		`bunq_api_request_errors_total{account="demo",endpoint="device-server",method="GET",reason="timeout"} 0`,
	)

	if code := e.stop(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(e.output), "bunq_exporter-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %q behind: %v", left, err)
	}
}
