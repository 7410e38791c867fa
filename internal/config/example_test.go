package config_test

import (
	"regexp"
	"strings"
	"testing"

	"bunq_exporter/internal/config"
)

const examplePath = "../../config.yml.example"

func TestExample(t *testing.T) {
	text := read(t, examplePath)
	got, err := config.Parse(examplePath, []byte(text))
	if err != nil || len(got.Accounts) != 2 {
		t.Errorf("got %v and %v, want two accounts", got, err)
	}
	for key := range config.AccountKeys {
		if !regexp.MustCompile(`(?m)^ +(- |# )?` + key + `: \S`).MatchString(text) {
			t.Errorf("%s is not in the example", key)
		}
	}
}

// What is commented out is valid too, each key by itself. Comments for people begin otherwise.
func TestExampleUncommented(t *testing.T) {
	text := read(t, examplePath)
	for _, match := range regexp.MustCompile(`(?m)^( +)# ([a-z_]+):`).FindAllStringSubmatch(text, -1) {
		text := strings.Replace(text, match[0], match[1]+match[2]+":", 1)
		if match[2] == "api_key" {
			text = strings.Replace(text, "    api_key_file:", "    #", 1)
		}
		if _, err := config.Parse(examplePath, []byte(text)); err != nil {
			t.Errorf("%s: %v", match[2], err)
		}
	}
}
