package config

import "fmt"

// Secret is text that is not printed by accident: fmt, JSON and YAML show that it is there, and string(s) what it is.
type Secret string

const hidden = "<hidden>"

// Format hides the secret from every verb of fmt: a String method would not be asked for %d, nor for %#v.
func (s Secret) Format(state fmt.State, _ rune) {
	text, _ := s.MarshalText()
	_, _ = state.Write(text)
}

// MarshalText hides the secret from JSON, YAML and loggers. The error is always nil.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte(hidden), nil
}
