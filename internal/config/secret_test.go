package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/internal/config"
)

func TestSecretIsNotPrinted(t *testing.T) {
	a := config.Account{APIKeyInline: key}
	texts := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		texts[verb] = fmt.Sprintf(verb, a.APIKeyInline)
		texts[verb+" of the account"] = fmt.Sprintf(verb, a)
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
		text, err := marshal(a)
		texts[name] = fmt.Sprint(string(text), err)
	}
	for name, text := range texts {
		text = strings.ToLower(text)
		shown := strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key))
		if shown || !strings.Contains(text, "hidden") {
			t.Errorf("%s: the key is not hidden in %s", name, text)
		}
	}
	if got := fmt.Sprint(config.Secret("")); got != "" {
		t.Errorf("no secret is printed as %q", got)
	}
}

// Whatever is done wrong with a key, the message must not quote it.
func TestProblemsDoNotQuoteTheKey(t *testing.T) {
	for _, wrong := range []string{
		"*%s", "&%s", "!%s", "!%s!a b", "!<%s> b", "@%s", "`%s", "%%%s", "|%s", ">%s", "\"%s", "'%s", "[%s", "{%s",
		"]%s", ", %s", "\"\\%s\"", "%s: %[1]s", "\"%s\" b", "- %s", "? %s", "[%s]", "{%s: 1}", "!!int %s", "!!binary %s",
		"!!binary =%s", "!!null %s", "!!timestamp %s", "%s\n    name: a", "%s\n  : a", "\x00%s", "\xff%s", "\t%s\n\t:",
		"1\n    %s: 1", "1\n    ? %s", "1\n    <<: %s", "1\n    <<: *%s", "1\n    !!null %s: 1", "1\n  - !!null %s",
		"1\n!!null %s: 1", "1\n%s", "1\n--- %s", "1\n--- !!null %s", "1\n...\n%%YAML %s\n---", "1\n...\n%%TAG %s\n---",
		"1\n...\n%%%s\n---",
	} {
		for name := range config.AccountKeys {
			text := "accounts:\n  - " + name + ": " + fmt.Sprintf(wrong, key) + "\n"
			if _, err := config.Parse("config.yml", []byte(text)); err == nil || strings.Contains(err.Error(), key) {
				t.Errorf("%q: got %v, want a problem without the key", text, err)
			}
		}
	}
}
