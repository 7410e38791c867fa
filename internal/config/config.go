// Package config reads config.yml: the accounts to monitor and how to reach them.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"bunq_exporter/bunq/apicontext"
)

// The largest configuration file and the largest file with an API key, in bytes.
const maxFile, maxKey = 16 << 20, 64 << 10

// Config is a valid configuration.
type Config struct {
	Accounts []Account // at least one; names and context files are unique

	file  string
	lines map[string]int // where each account's name and context file are set
}

// Load reads the configuration file at path. The error lists every problem, each in a line FILE:LINE: MESSAGE. Files
// that the configuration names are not read: see [Config.CheckFiles] and [Account.APIKey].
func Load(path string) (*Config, error) {
	text, err := apicontext.ReadFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; correct the path, or start from config.yml.example", path, err)
	}
	return parse(path, text)
}

func parse(path string, text []byte) (*Config, error) {
	c := &Config{file: path, lines: make(map[string]int)}
	var found problems
	if root := found.decode(text); root != nil {
		for _, item := range found.mapping(root, documentRules).list("accounts") {
			c.Accounts = append(c.Accounts, c.validate(found.mapping(item, accountRules)))
		}
	}
	if err := found.in(path); err != nil {
		return nil, err
	}
	return c, nil
}

// CheckFiles reads the key and context files of all accounts. The error lists every problem like that of [Load]. A
// context file need not exist, but its folder must. Nothing is written.
func (c *Config) CheckFiles() error {
	var found problems
	for _, a := range c.Accounts {
		for _, err := range []error{a.checkKey(), a.checkContextFile()} {
			if err != nil {
				found.report(c.lines[a.Name], "account %s: %s", a.Name, err)
			}
		}
	}
	return found.in(c.file)
}

// Warnings returns a sentence for each file with secrets that other users can access. It opens no file.
func (c *Config) Warnings() (warnings []string) {
	var paths []string
	for _, a := range c.Accounts {
		paths = append(paths, a.APIKeyFile, a.ContextFile)
		if a.APIKeyInline != "" {
			paths = append(paths, c.file)
		}
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		info, err := os.Stat(path)
		if err == nil && info.Mode()&0o077 != 0 {
			warnings = append(warnings, fmt.Sprintf("other users can access secrets in %s: run chmod 600 %[1]s", path))
		}
	}
	return warnings
}

// problem is one thing that is wrong and what to do about it.
type problem struct {
	line    int
	message string
}

// problems collects what is wrong with a file.
type problems []problem

func (p *problems) report(line int, format string, args ...any) {
	*p = append(*p, problem{line, fmt.Sprintf(format, args...)})
}

// in returns an error that lists the problems in the order of the file, or nil if there are none.
func (p problems) in(file string) error {
	slices.SortFunc(p, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.message, b.message))
	})
	var list []error
	for _, one := range slices.Compact(p) { // each use of an alias has the problems of its anchor
		list = append(list, fmt.Errorf("%s:%d: %s", file, one.line, one.message))
	}
	return errors.Join(list...)
}
