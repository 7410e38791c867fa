package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/config"
)

func TestSecretIsNotPrinted(t *testing.T) {
	c, err := config.Load("testdata/valid/complete.yml")
	if err != nil {
		t.Fatal(err)
	}
	prints := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		prints[verb] = fmt.Sprintf(verb, *c)
		prints[verb+" of the key"] = fmt.Sprintf(verb, c.Accounts[1].APIKeyInline)
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
		text, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		prints[name] = string(text)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "config", c, "key", c.Accounts[1].APIKeyInline)
	prints["log"] = log.String()
	for name, got := range prints {
		hex := fmt.Sprintf("%x", key)
		if low := strings.ToLower(got); strings.Contains(low, key) || strings.Contains(low, hex) {
			t.Errorf("%s prints the key: %s", name, got)
		}
		if !strings.Contains(got, "hidden") {
			t.Errorf("%s does not tell that there is a key: %s", name, got)
		}
	}
	if got := fmt.Sprint(config.Secret("")); got != "" {
		t.Errorf("no secret is printed as %q", got)
	}
}

// Whatever is done wrong with a key, the message must not quote it.
func TestProblemsDoNotQuoteTheKey(t *testing.T) {
	for _, wrong := range []string{
		"*%s", "&%s", "!%s", "!%s!a b", "!<%s> b", "@%s", "`%s", "%%%s", "|%s", ">%s", "\"%s", "'%s", "[%s", "{%s", "]%s", ", %s",
		"\"\\%s\"", "%s: %[1]s", "\"%s\" b", "- %s", "? %s", "[%s]", "{%s: 1}", "!!int %s", "!!binary %s", "!!binary =%s", "!!null %s",
		"!!timestamp %s", "%s\n    name: a", "%s\n  : a", "\x00%s", "\xff%s", "\t%s\n\t:", "1\n    %s: 1", "1\n    ? %s",
		"1\n    <<: %s", "1\n    <<: *%s", "1\n%s", "1\n--- %s", "1\n...\n%%YAML %s\n---", "1\n...\n%%TAG %s\n---", "1\n...\n%%%s\n---",
	} {
		for _, name := range config.AccountKeys() {
			text := "accounts:\n  - " + name + ": " + fmt.Sprintf(wrong, key) + "\n"
			_, err := config.Parse("config.yml", []byte(text))
			if err == nil {
				t.Errorf("no problem with %q", text)
			} else if strings.Contains(err.Error(), key) {
				t.Errorf("%q is quoted: %v", text, err)
			}
		}
	}
}
