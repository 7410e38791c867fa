// Package config reads config.yml: the accounts to watch, and how to reach them.
//
// It finds every problem of a file in one go and says in which line each one is. No message quotes a value of the file,
// for what stands in the wrong place may be the API key.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Config is a configuration without problems.
type Config struct {
	Accounts []Account // at least one; their names and context files differ
}

// Load reads the configuration file. Its error is of type *Error and tells of every problem that the file has. Load
// opens no other file: whether an API key can be read is for [Account.APIKey] to say.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		// The bare cause: the path stands before every problem anyway.
		cause := errors.Unwrap(err)
		message := fmt.Sprintf("cannot be read: %v; copy config.yml.example to begin with, or correct the path", cause)
		return nil, &Error{path, []Problem{{Message: message}}}
	}
	return parse(path, text)
}

// parse does what Load does with the text of the file that path names.
func parse(path string, text []byte) (*Config, error) {
	c := checker{
		folder:       filepath.Dir(path),
		names:        make(map[string]int),
		contextFiles: make(map[string]int),
	}
	config := &Config{c.accounts(c.content(text))}
	if len(c.problems) > 0 {
		return nil, &Error{path, c.sorted()}
	}
	return config, nil
}
