package bunq_test

import (
	"os"
	"strings"
	"testing"

	"bunq_exporter/bunq"
)

func TestREADMESaysWhatTheLogSaysOfEveryLoginState(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[bunq.LoginState]bool{}
	for _, e := range bunq.Explanations() {
		told[e.State] = true
		if row := "\n| `" + string(e.State) + "` | " + e.Sentence + " |\n"; !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks %s", row)
		}
	}
	for _, state := range bunq.LoginStates() {
		if !told[state] {
			t.Errorf("%s is explained nowhere", state)
		}
	}
}
