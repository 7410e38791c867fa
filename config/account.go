package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"bunq_exporter/bunq"
)

// Account is a bunq account to watch.
type Account struct {
	Name        string // letters, digits, - and _
	Environment bunq.Environment
	BaseURL     string // of the API, version included; "": the environment's

	APIKeyFile   string // "" if there is none
	APIKeyInline Secret // "" if there is none; at most one of the two is set

	ContextFile   string   // where the API context is kept; it need not exist
	Description   string   // of the device server that is registered when there is no context yet
	PermittedIPs  []string // of that device server: IP addresses, or * for any; none: the caller's
	DeviceServers []int64  // ids, at least one, each of them once
}

// APIKey returns the API key, or "" if the configuration has none. A key file is read anew on each call, so keys rotate
// without a restart. An error says which file of which account is at fault and what to do, and does not quote it.
func (a Account) APIKey() (string, error) {
	if a.APIKeyFile == "" {
		return string(a.APIKeyInline), nil
	}
	text, err := os.ReadFile(a.APIKeyFile)
	if err != nil {
		err = fmt.Errorf("cannot be read: %w; put the key there, or let the exporter's user read it", errors.Unwrap(err))
		return "", a.keyError(err)
	}
	// Editors on Windows begin a file with a byte order mark.
	words := strings.Fields(strings.TrimPrefix(string(text), "\ufeff"))
	switch len(words) {
	case 0:
		return "", a.keyError(errors.New("is empty; put the key there, or leave api_key_file out"))
	case 1:
		return words[0], nil
	}
	return "", a.keyError(errors.New("holds more than one line or word; put nothing but the key there"))
}

func (a Account) keyError(err error) error {
	return fmt.Errorf("account %s: the API key file %s %w", a.Name, a.APIKeyFile, err)
}
