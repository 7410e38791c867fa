package config_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/config"
)

const examplePath = "../config.yml.example"

// commented matches a key that is commented out; comments for people begin otherwise.
var commented = regexp.MustCompile(`(?m)^( +)# ([a-z_]+):`)

func TestExample(t *testing.T) {
	got, err := config.Load(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{Accounts: []config.Account{
		{
			Name:          "company",
			Environment:   bunq.Production,
			APIKeyFile:    "../api_key",
			ContextFile:   "../company.conf",
			Description:   "bunq_exporter",
			DeviceServers: []int64{4711, 4712},
		},
		{
			Name:          "playground",
			Environment:   bunq.Sandbox,
			APIKeyFile:    "../api_key_sandbox",
			ContextFile:   "../playground.conf",
			Description:   "bunq_exporter",
			DeviceServers: []int64{815, 816},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	text := read(t, examplePath)
	for _, key := range config.AccountKeys() {
		if !regexp.MustCompile(`(?m)^ +(- |# )?` + key + `: \S`).MatchString(text) {
			t.Errorf("%s is not in the example", key)
		}
	}
}

// What is commented out is valid too, each key for itself and all together.
func TestExampleUncommented(t *testing.T) {
	text := read(t, examplePath)
	// One kind of key excludes the other.
	other := func(text string) string { return strings.Replace(text, "    api_key_file:", "    #", 1) }
	texts := map[string]string{"all": other(commented.ReplaceAllString(text, "$1$2:"))}
	for _, match := range commented.FindAllStringSubmatch(text, -1) {
		line, indent, key := match[0], match[1], match[2]
		texts[key] = strings.Replace(text, line, indent+key+":", 1)
		if key == "api_key" {
			texts[key] = other(texts[key])
		}
	}
	if want := 5; len(texts) != want {
		t.Errorf("%d keys are commented out, want %d", len(texts)-1, want-1)
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Parse(examplePath, []byte(text)); err != nil {
				t.Error(err)
			}
		})
	}
}
