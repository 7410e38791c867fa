package config

import "fmt"

// Secret is text that fmt, JSON, YAML and loggers do not print. Use string(s) to get it.
type Secret string

// Format implements fmt.Formatter. A String method would not be called for verbs such as %d and %#v.
func (s Secret) Format(state fmt.State, _ rune) {
	text, _ := s.MarshalText()
	_, _ = state.Write(text)
}

// MarshalText implements encoding.TextMarshaler. The error is always nil.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte("<hidden>"), nil
}
