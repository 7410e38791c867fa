package config

import (
	"errors"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
)

var fileKeys = []key{
	{"accounts", true, "list the accounts to watch, each beginning with a hyphen"},
}

var accountKeys = []key{
	{"name", true, "give the account a name of letters, digits, - and _"},
	{"environment", true, "write production or sandbox"},
	{"base_url", false, "leave it out to use the environment's address"},
	{"api_key_file", false, "leave it out if there is none"},
	{"api_key", false, "leave it out if there is none"},
	{"context_file", true, "name a file of this account's own for the API context; the exporter makes it"},
	{"description", false, "leave it out to register as bunq_exporter"},
	{"permitted_ips", false, `leave it out, or list IP addresses, such as [192.0.2.1], or "*" for any`},
	{"device_servers", true, "list the ids to watch, such as [4711, 4712]"},
}

// accounts checks the file's content, if there is any.
func (c *checker) accounts(n *yaml.Node) []Account {
	if n == nil {
		return nil
	}
	var accounts []Account
	for _, item := range c.list(c.mapping(n, "the file", fileKeys)["accounts"]) {
		if entries := c.mapping(item, "an account", accountKeys); entries != nil {
			accounts = append(accounts, c.account(entries))
		}
	}
	return accounts
}

func (c *checker) account(entries map[string]entry) Account {
	key, file := entries["api_key"].value, entries["api_key_file"].value
	if key != nil && file != nil {
		c.report(max(key.Line, file.Line), "api_key and api_key_file are both there; keep one of them")
	}
	account := Account{
		Name:          c.name(entries["name"]),
		Environment:   c.environment(entries["environment"]),
		BaseURL:       c.baseURL(entries["base_url"]),
		APIKeyFile:    c.path(entries["api_key_file"]),
		APIKeyInline:  Secret(strings.TrimSpace(c.text(entries["api_key"]))),
		ContextFile:   c.contextFile(entries["context_file"]),
		Description:   c.text(entries["description"]),
		PermittedIPs:  c.permittedIPs(entries["permitted_ips"]),
		DeviceServers: c.deviceServers(entries["device_servers"]),
	}
	if account.Description == "" {
		account.Description = "bunq_exporter"
	}
	return account
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c *checker) name(e entry) string {
	name := c.text(e)
	if name == "" {
		return ""
	}
	if !validName.MatchString(name) {
		c.report(e.value.Line, "name has characters that it may not have; %s", e.advice)
	} else if first, ok := taken(c.names, name, e.value.Line); ok {
		c.report(e.value.Line, "line %d has this name already; give each account its own", first)
	}
	return name
}

func (c *checker) environment(e entry) bunq.Environment {
	environment := bunq.Environment(c.text(e))
	if environment != "" && environment.BaseURL() == "" {
		c.report(e.value.Line, "environment is unknown; %s", e.advice)
	}
	return environment
}

func (c *checker) baseURL(e entry) string {
	text := c.text(e)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		c.report(e.value.Line, "base_url is not an address such as %s; %s", bunq.Production.BaseURL(), e.advice)
		return ""
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		c.report(e.value.Line, "base_url must begin with https://; http:// is for localhost, 127.0.0.0/8 and [::1] only")
	}
	if u.User != nil {
		c.report(e.value.Line, "base_url must not hold a user or password; take out what is before the @")
	}
	if strings.ContainsAny(text, "?#") {
		c.report(e.value.Line, "base_url must not hold a query or fragment; end it before the ? or #")
	}
	return text
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

func (c *checker) contextFile(e entry) string {
	name := c.path(e)
	if name == "" {
		return ""
	}
	whole := name
	if absolute, err := filepath.Abs(name); err == nil {
		whole = absolute // one file may be named once relative and once absolute
	}
	if first, ok := taken(c.contextFiles, whole, e.value.Line); ok {
		c.report(e.value.Line, "line %d has this context_file already; give each account its own", first)
	}
	return name
}

// keyLike matches bunq's API keys, and no name that a person gives to a file.
var keyLike = regexp.MustCompile(`^\s*(sandbox_)?[0-9A-Za-z]{32,}\s*$`)

// path returns the path of a file that is named in the configuration, or "".
func (c *checker) path(e entry) string {
	name := c.text(e)
	if keyLike.MatchString(name) { // told here, because later errors and logs name the file
		c.report(e.value.Line, "%s seems to be an API key; name a file here, the key itself belongs under api_key", e.name)
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.folder, name)
}

func (c *checker) permittedIPs(e entry) []string {
	var ips []string
	for _, n := range c.list(e) {
		if address, err := netip.ParseAddr(n.Value); n.Value != "*" && (err != nil || address.Zone() != "") {
			c.report(n.Line, `permitted_ips has an item that is neither an IP address nor "*"; ranges and names are not possible`)
		}
		ips = append(ips, n.Value)
	}
	return ips
}

func (c *checker) deviceServers(e entry) []int64 {
	var ids []int64
	seen := make(map[int64]int)
	for _, n := range c.list(e) {
		id, err := strconv.ParseInt(n.Value, 10, 64)
		if errors.Is(err, strconv.ErrRange) || err == nil && id < 1 {
			c.report(n.Line, "an id of device_servers must be from 1 to 9223372036854775807")
		} else if n.ShortTag() == "!!str" || strconv.FormatInt(id, 10) != n.Value { // YAML reads 010 as 8
			c.report(n.Line, "an id of device_servers must be a whole number in plain digits, such as 4711, without quotes")
		} else if first, ok := taken(seen, id, n.Line); ok {
			c.report(n.Line, "line %d has this id already; list each id of device_servers once", first)
		}
		ids = append(ids, id)
	}
	return ids
}
