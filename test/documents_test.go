package test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
)

// names returns the first groups of the matches in a text.
func names(text string, pattern *regexp.Regexp) set {
	found := set{}
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found[match[1]] = true
	}
	return found
}

// section returns the section of a document from its heading to the next one of the same level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, "../docs/"+path), "\n"+heading+"\n")
	if !found {
		t.Errorf("%s: no heading %s", path, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	text, _, _ = strings.Cut(text, "\n"+level+" ")
	return text
}

// Each document names what the program has, and nothing else.
func TestDocumentsAreComplete(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	flag := regexp.MustCompile("`--([a-z.-]+)`")
	_, help := runToEnd(t, "--help")
	for _, test := range []struct {
		name                string
		program, documented set
	}{
		{"metrics", names(start(t, "--demo").scrape(), regexp.MustCompile(`(?m)^# TYPE (bunq_\S+)`)),
			names(readFile(t, "../docs/metrics.md"), row)},
		{"reasons", setOf(bunq.Reasons...), names(section(t, "troubleshooting.md", "## Reasons"), row)},
		{"login states", loginStates(),
			names(section(t, "troubleshooting.md", "## Login states"), regexp.MustCompile(`(?m)^### (\w+)`))},
		// A test of the package config holds the example against the code.
		{"keys", names(readFile(t, "../config.yml.example"), regexp.MustCompile(`(?m)^ +(?:- |# )?([a-z_]+): \S`)),
			names(section(t, "configuration.md", "## Configuration file"), row)},
		{"flags", names(help, helpFlag), names(section(t, "configuration.md", "## Flags"), flag)},
	} {
		if diff := cmp.Diff(test.program, test.documented); diff != "" {
			t.Errorf("%s, -program +document:\n%s", test.name, diff)
		}
	}
}
