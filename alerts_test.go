package main

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const rulesFile = "alerts/bunq.rules.yml"

type rule struct {
	Record, Alert, Expr, For string
	KeepFiringFor            string `yaml:"keep_firing_for"`
	Labels, Annotations      map[string]string
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// anchor is where docs/runbooks.md has the section of an alert.
func anchor(alert string) string { return strings.ToLower(alert) }

// readRunbooks returns the sections of docs/runbooks.md, by anchor.
func readRunbooks(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		if heading, body, _ := strings.Cut(section, "\n"); strings.HasPrefix(heading, "Bunq") {
			sections[anchor(heading)] = body
		}
	}
	return sections
}

// demoVocabulary is what queries may speak of, learnt from the demo.
func demoVocabulary(t *testing.T) vocabulary {
	t.Helper()
	e := start(t, "--demo")
	return speaks(t, get(t, e.stdout.find(t, `metrics +(\S+)`)), readRules(t))
}

func TestRulesSpeakOfWhatTheExporterShows(t *testing.T) {
	v := demoVocabulary(t)
	for _, r := range readRules(t) {
		t.Run(r.Alert+r.Record, func(t *testing.T) {
			labels, problems := v.check(r.Expr)
			for _, problem := range problems {
				t.Error(problem)
			}
			if r.Record != "" {
				if diff := cmp.Diff(v.labels[r.Record], labels); diff != "" {
					t.Errorf("labels, -in the name +made:\n%s", diff)
				}
				return
			}
			for name, text := range r.Annotations {
				checkTemplate(t, v, labels, name, text)
			}
		})
	}
}

var (
	labelReference = regexp.MustCompile(`\$labels\.(\w+)`)
	embeddedQuery  = regexp.MustCompile("`([^`]+)`")
)

// checkTemplate wants the labels and queries of an annotation to exist.
func checkTemplate(t *testing.T, v vocabulary, labels set, name, text string) {
	t.Helper()
	for _, reference := range labelReference.FindAllStringSubmatch(text, -1) {
		if !labels[reference[1]] {
			t.Errorf("%s: the alert has no label %s", name, reference[1])
		}
	}
	for _, query := range embeddedQuery.FindAllStringSubmatch(text, -1) {
		_, problems := v.check(strings.ReplaceAll(query[1], "%q", `"1"`))
		for _, problem := range problems {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	v, runbooks := demoVocabulary(t), readRunbooks(t)
	unused := maps.Clone(runbooks)
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		t.Run(r.Alert, func(t *testing.T) {
			if !strings.HasPrefix(r.Alert, "Bunq") {
				t.Error("the dashboards look for alerts whose names begin with Bunq")
			}
			if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
				t.Errorf("severity %q", severity)
			}
			for _, name := range []string{"summary", "description"} {
				if r.Annotations[name] == "" {
					t.Errorf("no %s", name)
				}
			}
			if _, section, _ := strings.Cut(r.Annotations["runbook_url"], "/docs/runbooks.md#"); section != anchor(r.Alert) || runbooks[section] == "" {
				t.Errorf("runbook_url %q, want it to lead to a section %s that exists", r.Annotations["runbook_url"], r.Alert)
			}
			labels, _ := v.check(r.Expr)
			for _, label := range []string{"account", "id", "instance"} {
				if labels[label] && !strings.Contains(r.Annotations["summary"], "$labels."+label) {
					t.Errorf("the summary lacks the label %s", label)
				}
			}
		})
		delete(unused, anchor(r.Alert))
	}
	for section := range unused {
		t.Errorf("docs/runbooks.md has a section %s, and there is no such alert", section)
	}
}

func TestRunbooksSayHowToConfirmAndWhatToDo(t *testing.T) {
	v := demoVocabulary(t)
	promQL := regexp.MustCompile("(?s)```promql\n(.+?)\n```")
	for name, text := range readRunbooks(t) {
		queries := promQL.FindStringSubmatch(text)
		if queries == nil || !strings.Contains(text, "**Confirm.**") || !strings.Contains(text, "curl -s") || !strings.Contains(text, "**Do.**") {
			t.Errorf("%s: no PromQL, no curl, or it does not say how to confirm it and what to do:%s", name, text)
			continue
		}
		for query := range strings.SplitSeq(queries[1], "\n") {
			if _, problems := v.check(query); problems != nil {
				t.Errorf("%s: %s: %q", name, query, problems)
			}
		}
	}
}

func TestPromtoolTakesTheRulesAndTheirTestsHold(t *testing.T) {
	promtool(t, ".", "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	promtool(t, ".", "test", "rules", "alerts/bunq.rules.test.yml")
}
