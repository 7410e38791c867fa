// Package config reads config.yml: the accounts to monitor and how to reach them.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bunq_exporter/bunq"
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

// Account is a bunq account to monitor.
type Account struct {
	Name        string // letters, digits, - and _
	Environment bunq.Environment
	BaseURL     string // of the API, including the version; "" to use the environment's

	APIKeyFile   string // "" if there is none
	APIKeyInline string // "" if there is none; at most one of the two is set

	ContextFile  string   // path of the API context, which need not exist
	Description  string   // of the device server to register when there is no API context
	PermittedIPs []string // of that device server: IP addresses, or * for any; empty to permit the caller's

	DeviceServers DeviceServers
}

// DeviceServers says which device servers to watch. No id occurs twice.
type DeviceServers struct {
	IDs   []int64 // to watch; at least one unless all are watched
	All   bool    // watch every one on the account
	Known []int64 // neither to watch nor to report as unexpected
}

// Load reads the configuration file at path. The error lists every problem, each in a line FILE:LINE: MESSAGE; the
// configuration then has only what is valid, for [Config.CheckFiles]. Files that it names are not read: see there, and
// [Account.APIKey].
func Load(path string) (*Config, error) {
	text, err := apicontext.ReadFile(path, maxFile)
	if err != nil {
		return &Config{}, fmt.Errorf("%s: %w; correct the path, or start from config.yml.example", path, err)
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
	return c, found.in(path)
}

// CheckFiles reads the key and context files of the accounts, as far as they are valid. The error lists every problem
// like that of [Load]. A context file need not exist, but its folder must. Nothing is written.
func (c *Config) CheckFiles() error {
	var found problems
	for _, a := range c.Accounts {
		if a.Name == "" || a.Environment == "" || a.ContextFile == "" { // not valid
			continue
		}
		for _, err := range []error{a.checkKey(), a.checkContextFile()} {
			if err != nil {
				found.report(c.lines[a.Name], "account %s: %s", a.Name, err)
			}
		}
	}
	return found.in(c.file)
}

// Warnings returns a sentence for each file with secrets that other users can access. It opens no file. On Windows,
// which has no file modes, it returns nothing.
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
		if err == nil && info.Mode()&0o077 != 0 && runtime.GOOS != "windows" {
			warnings = append(warnings, fmt.Sprintf("other users can access secrets in %s: run chmod 600 %[1]s", path))
		}
	}
	return warnings
}

// APIKey returns the API key, or "" if the configuration has none. It reads a key file each time, so that a key can
// be replaced without a restart. Errors do not quote the file.
func (a Account) APIKey() (string, error) {
	if a.APIKeyFile == "" {
		return a.APIKeyInline, nil
	}
	text, err := apicontext.ReadFile(a.APIKeyFile, maxKey)
	// Editors on Windows write a byte order mark.
	words := strings.Fields(strings.TrimPrefix(string(text), "\ufeff"))
	if err == nil && len(words) != 1 {
		err = fmt.Errorf("%s has %d words: write nothing but the key to it", a.APIKeyFile, len(words))
	}
	if err != nil {
		return "", fmt.Errorf("reading API key: %w", err)
	}
	return words[0], nil
}

// checkKey returns an error if the API key cannot be read or is not for the account's environment.
func (a Account) checkKey() error {
	key, err := a.APIKey()
	if err == nil && key != "" && !a.Environment.Accepts(key) {
		err = fmt.Errorf("the API key is not for environment %q (only keys of the sandbox begin with sandbox_): "+
			"correct the key or the environment", a.Environment)
	}
	return err
}

// checkContextFile returns an error if the context file cannot be used or created.
func (a Account) checkContextFile() error {
	if _, err := apicontext.Load(a.ContextFile, a.Environment); err != nil {
		return err
	}
	folder := filepath.Dir(apicontext.Resolve(a.ContextFile))
	if err := writable(folder); err != nil {
		return fmt.Errorf("folder %s of context_file: %w: create it, and let the exporter write to it", folder, err)
	}
	return nil
}
