package bunqtest

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bunq_exporter/bunq"
)

// timeLayout is bunq's: UTC, always with microseconds.
const timeLayout = "2006-01-02 15:04:05.000000"

var wrongCredentials = &failure{status: http.StatusBadRequest, description: "User credentials are incorrect. Incorrect API key or IP address."}

// decode reads the request body, which may hold nothing but what into has. All of bunq's keys are in lower case, and
// encoding/json alone would take them in any.
func (r *request) decode(into any) *failure {
	var keys map[string]json.RawMessage
	err := json.Unmarshal(r.body, &keys)
	for key := range keys {
		if key != strings.ToLower(key) {
			err = fmt.Errorf("unknown field %q", key)
		}
	}
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(r.body))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(into)
	}
	if err != nil {
		return &failure{status: http.StatusBadRequest, description: "The request body is invalid: " + err.Error()}
	}
	return nil
}

func response(objects ...any) object { return one("Response", objects) }

func (s *Server) token(value string) object {
	created := now().Format(timeLayout)
	return one("Token", object{{"id", s.nextID()}, {"created", created}, {"updated", created}, {"token", value}})
}

// createInstallation is POST /installation. A public key is installed once: bunq's clients make a new pair for each try.
func (s *Server) createInstallation(r *request) (any, *failure) {
	var body struct {
		Key string `json:"client_public_key"`
	}
	if failed := r.decode(&body); failed != nil {
		return nil, failed
	}
	key, ok := clientKey(body.Key)
	if !ok {
		return nil, &failure{status: http.StatusBadRequest, description: "The client_public_key is not an RSA key of 2048 bits in PEM."}
	}
	if slices.ContainsFunc(s.installations, func(i *installation) bool { return i.key.Equal(key) }) {
		return nil, &failure{status: http.StatusBadRequest, description: "The client_public_key is in use already."}
	}
	made := &installation{token: newToken(), key: key, used: map[string]struct{}{}}
	s.installations = append(s.installations, made)
	return response(
		one("Id", one("id", s.nextID())),
		s.token(made.token),
		one("ServerPublicKey", one("server_public_key", s.publicKey)),
	), nil
}

func clientKey(text string) (*rsa.PublicKey, bool) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, false
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*rsa.PublicKey)
	return key, err == nil && ok && key.N.BitLen() == 2048
}

// createDeviceServer is POST /device-server. Every call makes one more. What it permits is linked to the key too, so
// that "*" makes the key a wildcard.
func (s *Server) createDeviceServer(r *request) (any, *failure) {
	var body struct {
		Description string   `json:"description"`
		Secret      string   `json:"secret"`
		Addresses   []string `json:"permitted_ips"`
	}
	if failed := r.decode(&body); failed != nil {
		return nil, failed
	}
	if body.Description == "" {
		return nil, &failure{status: http.StatusBadRequest, description: "The description is missing."}
	}
	for _, address := range body.Addresses {
		if _, err := netip.ParseAddr(address); err != nil && address != "*" {
			return nil, &failure{status: http.StatusBadRequest, description: fmt.Sprintf("The permitted_ips hold %q, which is no address.", address)}
		}
	}
	owner, ok := s.user(body.Secret, r.address)
	if !ok {
		return nil, wrongCredentials
	}
	if len(body.Addresses) == 0 {
		body.Addresses = []string{r.address}
	}
	owner.addresses = append(owner.addresses, body.Addresses...)
	made := &device{
		DeviceServer: bunq.DeviceServer{
			ID: s.nextID(), Created: now(), Updated: now(), Description: body.Description, IP: r.address, Status: bunq.StatusActive,
		},
		user: owner, installation: r.installation, addresses: body.Addresses,
	}
	r.installation.device = made
	s.addDevice(made)
	return response(one("Id", one("id", made.ID))), nil
}

// createSessionServer is POST /session-server. Whatever is wrong with key, address or device server, bunq has one answer.
func (s *Server) createSessionServer(r *request) (any, *failure) {
	var body struct {
		Secret string `json:"secret"`
	}
	if failed := r.decode(&body); failed != nil {
		return nil, failed
	}
	own := r.installation.device
	owner, ok := s.user(body.Secret, r.address)
	if !ok || own == nil || own.user != owner || own.Status != bunq.StatusActive ||
		!owner.AnyAddress && !permits(own.addresses, r.address) {
		return nil, wrongCredentials
	}
	token := newToken()
	s.sessions[token] = &session{user: owner, installation: r.installation, expires: now().Add(owner.SessionTimeout)}
	return response(one("Id", one("id", s.nextID())), s.token(token), one(owner.Kind, owner.object())), nil
}

func (u *user) object() object {
	timeout := field{"session_timeout", int(u.SessionTimeout / time.Second)}
	if u.Kind != "UserApiKey" {
		return object{{"id", u.ID}, {"display_name", "A. User"}, timeout}
	}
	asker := object{{"id", u.ID + 1}, {"display_name", "An App"}, timeout}
	granter := object{{"id", u.ID + 2}, {"display_name", "A. User"}}
	return object{{"id", u.ID}, {"requested_by_user", one("UserCompany", asker)}, {"granted_by_user", one("UserPerson", granter)}}
}

// visible returns the device servers that a request may see, newest first.
func (s *Server) visible(r *request) []*device {
	var seen []*device
	for _, d := range s.devices {
		own := r.installation.device
		if own != nil && d.user == own.user && (d.installation == r.installation || !s.options.OwnInstallationOnly) {
			seen = append(seen, d)
		}
	}
	return seen
}

// readDeviceServer is GET /device-server/{id}. What a list does not show can be read all the same: bunq says neither.
func (s *Server) readDeviceServer(r *request) (any, *failure) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if d := s.find(r, id); err == nil && d != nil {
		return response(d.object()), nil
	}
	return nil, &failure{status: http.StatusNotFound, description: "DeviceServer not found."}
}

// find returns the device server of the request's user with the id; nil if there is none.
func (s *Server) find(r *request, id int64) *device {
	own := r.installation.device
	for _, d := range s.devices {
		if d.ID == id && own != nil && d.user == own.user {
			return d
		}
	}
	return nil
}

// listDeviceServers is GET /device-server.
func (s *Server) listDeviceServers(r *request) (any, *failure) {
	query := r.URL.Query()
	count, okCount := number(query, "count", 10)
	older, okOlder := number(query, "older_id", 0)
	newer, okNewer := number(query, "newer_id", 0)
	if !okCount || !okOlder || !okNewer || count < 1 || count > 200 {
		return nil, &failure{status: http.StatusBadRequest, description: "The pagination is invalid: count is at most 200, older_id and newer_id are ids."}
	}
	all := s.visible(r)
	if reading := s.options.UnknownOlderID; older > 0 && reading != OlderIDCompares && s.find(r, older) == nil {
		if reading == OlderIDRefused {
			return nil, &failure{status: http.StatusBadRequest, description: "The pagination is invalid: older_id is no device server."}
		}
		all = nil
	}
	page := pick(all, older, newer, int(count))
	items := []any{}
	for _, d := range page {
		items = append(items, d.object())
	}
	return object{{"Response", items}, {"Pagination", pagination(all, page, count)}}, nil
}

// pick returns up to count of the device servers that are older and newer than the ids given; 0 bounds nothing. With
// newer, they are the ones next to it.
func pick(all []*device, older, newer int64, count int) []*device {
	page := slices.DeleteFunc(slices.Clone(all), func(d *device) bool { return older > 0 && d.ID >= older || d.ID <= newer })
	if newer > 0 {
		return page[max(0, len(page)-count):]
	}
	return page[:min(count, len(page))]
}

// pagination has a URL, relative to the host, for each direction in which there is more; future_url is for what is yet
// to come.
func pagination(all, page []*device, count int64) object {
	link := func(has bool, name string, at int) any {
		if !has {
			return nil
		}
		return fmt.Sprintf("/v1/device-server?%s=%d&count=%d", name, page[at].ID, count)
	}
	some, last := len(page) > 0, len(page)-1
	return object{
		{"future_url", link(some && page[0] == all[0], "newer_id", 0)},
		{"newer_url", link(some && page[0] != all[0], "newer_id", 0)},
		{"older_url", link(some && page[last] != all[len(all)-1], "older_id", last)},
	}
}

func number(query url.Values, name string, otherwise int64) (int64, bool) {
	if !query.Has(name) {
		return otherwise, true
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	return n, err == nil && n > 0
}

func (d *device) object() object {
	return one("DeviceServer", object{
		{"id", d.ID},
		{"created", d.Created.UTC().Format(timeLayout)},
		{"updated", d.Updated.UTC().Format(timeLayout)},
		{"description", d.Description},
		{"ip", d.IP},
		{"status", d.Status},
		{"avatar", nil}, // a key that no documentation has
	})
}
