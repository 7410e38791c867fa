package config

import (
	"cmp"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

// rule describes the values that a key can have.
type rule struct {
	required bool
	valid    func(string) bool
	fault    string // of other values
	advice   string
}

// documentRules has the keys of the file.
var documentRules = map[string]rule{"accounts": {required: true, advice: "list accounts, each with a hyphen"}}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// accountRules has the keys of an account.
var accountRules = map[string]rule{
	"name":           {true, validName.MatchString, "invalid", "use letters, digits, - and _"},
	"environment":    {true, validEnvironment, "unknown", "write production or sandbox"},
	"base_url":       {false, validURL, "invalid", "use https:// (http:// for loopback), a port up to 65535, no user or query"},
	"api_key_file":   {false, validFile, "not a file name", "name a file, or use api_key"},
	"api_key":        {false, notBlank, "empty or not text", "write the key in quotes, or remove api_key"},
	"context_file":   {true, validFile, "not a file name", "name a file for the API context"},
	"description":    {false, notBlank, "empty or not text", "write text, or remove description"},
	"permitted_ips":  {false, validIP, "not an IP address", `list IP addresses, or "*" for any`},
	"device_servers": {true, validID, "not an id", "list ids, such as [4711, 4712], or write all"},

	"known_device_servers": {false, validID, "not an id", "list ids, such as [4711, 4712]"},
}

func notBlank(s string) bool         { return strings.TrimSpace(s) != "" }
func validEnvironment(s string) bool { return bunq.Environment(s).BaseURL() != "" }
func validFile(s string) bool        { return notBlank(s) && !keyLike.MatchString(filepath.Base(s)) }

func validURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, "?#") {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	loopback := err == nil && address.IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
	_, err = strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback)
}

func validIP(s string) bool {
	address, err := netip.ParseAddr(s)
	return s == "*" || err == nil && address.Zone() == ""
}

// validID rejects numbers such as 010, which is 8 in YAML.
func validID(s string) bool {
	id, err := strconv.ParseInt(s, 10, 64)
	return err == nil && id > 0 && strconv.FormatInt(id, 10) == s
}

// validate returns the account that a mapping describes, and reports what is wrong with its values.
func (c *Config) validate(m mapping) Account {
	a := Account{
		Name:         m.text("name"),
		Environment:  bunq.Environment(m.text("environment")),
		BaseURL:      m.text("base_url"),
		APIKeyFile:   c.path(m.text("api_key_file")),
		APIKeyInline: strings.TrimSpace(m.text("api_key")),
		ContextFile:  c.path(m.text("context_file")),
		Description:  cmp.Or(m.text("description"), "bunq_exporter"),
	}
	if key, file := m.values["api_key"], m.values["api_key_file"]; key != nil && file != nil {
		m.report(max(key.Line, file.Line), "api_key and api_key_file are both set; remove one")
	}
	if a.Name != "" { // a name is no absolute path, so that both can be in one map
		m.unique(c.lines, "name", m.values["name"], a.Name)
	}
	if path, err := filepath.Abs(apicontext.Resolve(a.ContextFile)); err == nil && a.ContextFile != "" {
		m.unique(c.lines, "context_file", m.values["context_file"], path)
	}
	for _, n := range m.list("permitted_ips") {
		a.PermittedIPs = append(a.PermittedIPs, m.check("permitted_ips", n))
	}
	lines := make(map[string]int) // of both lists
	if n := m.values["device_servers"]; n != nil && n.Value == "all" {
		a.DeviceServers.All = true
	} else {
		a.DeviceServers.IDs = m.ids("device_servers", lines)
	}
	a.DeviceServers.Known = m.ids("known_device_servers", lines)
	return a
}

// ids returns the valid ids of a key's list.
func (m mapping) ids(key string, lines map[string]int) (ids []int64) {
	for _, n := range m.list(key) {
		if id, err := strconv.ParseInt(m.check(key, n), 10, 64); err == nil {
			m.unique(lines, key, n, target(n).Value)
			ids = append(ids, id)
		}
	}
	return ids
}

// path resolves a path relative to the configuration file.
func (c *Config) path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file), path)
}
