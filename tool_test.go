package main

import (
	"os"
	"os/exec"
	"testing"
)

// tool returns the path of a program that is not Go's. Without it, a test is skipped, but not where all of them must run.
func tool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: get it with %s", name, howToGet)
	return ""
}

// promtool runs promtool in a folder and wants it to have no complaint.
func promtool(t *testing.T, folder string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), tool(t, "promtool", getPrometheus), args...)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, output)
	}
}
