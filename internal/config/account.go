package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

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
	target, _ := filepath.EvalSymlinks(a.ContextFile) // a link stays, and its target is replaced
	folder := filepath.Dir(cmp.Or(target, a.ContextFile))
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("folder %s of context_file: %w: create it, and let the exporter write to it", folder, err)
	}
	return nil
}
