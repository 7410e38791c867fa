package bunqtest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bunq_exporter/bunq"
)

var handlers = map[bunq.Operation]func(*Server, *request) *response{
	bunq.CreateInstallation:  (*Server).createInstallation,
	bunq.CreateDeviceServer:  (*Server).createDeviceServer,
	bunq.CreateSessionServer: (*Server).createSessionServer,
	bunq.ListDeviceServers:   (*Server).listDeviceServers,
	bunq.ReadDeviceServer:    (*Server).readDeviceServer,
}

// createInstallation is POST /installation.
func (s *Server) createInstallation(r *request) *response {
	key, err := bunq.ParsePublicKey(r.body.ClientPublicKey)
	if err != nil || !strings.HasPrefix(r.body.ClientPublicKey, "-----BEGIN PUBLIC KEY-----") {
		return badRequest("The client_public_key is not an RSA key of 2048 bits in PEM.")
	}
	token := newToken()
	s.installations[token] = &installation{key: key, device: &device{}, requestIDs: map[string]bool{}}
	serverKey := object{"ServerPublicKey": object{"server_public_key": bunq.EncodePublicKey(&privateKeys()[0].PublicKey)}}
	return success(idObject(s.lastID.Add(1)), s.token(token), serverKey)
}

// createDeviceServer is POST /device-server. The first one binds the API key to the addresses that it permits.
func (s *Server) createDeviceServer(r *request) *response {
	owner := s.users[r.body.Secret]
	switch {
	case r.body.Description == "":
		return badRequest("The description is missing.")
	case owner == nil, len(owner.addresses) > 0 && !permits(owner.addresses, r.address):
		return wrongCredentials
	case s.options.AlreadyExists && r.installation.device.ID > 0:
		return badRequest("device already exists")
	}
	addresses := r.body.PermittedIPs
	if len(addresses) == 0 {
		addresses = []string{r.address}
	}
	owner.addresses = append(owner.addresses, addresses...)
	d := &device{userID: owner.ID, installation: r.installation, addresses: addresses}
	d.DeviceServer = bunq.DeviceServer{
		ID: s.lastID.Add(1), Created: now(), Updated: now(),
		Description: r.body.Description, IP: r.address, Status: bunq.StatusActive,
	}
	r.installation.device = d
	s.addDevice(d)
	return success(idObject(d.ID))
}

// createSessionServer is POST /session-server. A wrong API key, address or device server gets the same error.
func (s *Server) createSessionServer(r *request) *response {
	owner, own := s.users[r.body.Secret], r.installation.device
	if owner == nil || own.userID != owner.ID || !own.usable(r.address) {
		return wrongCredentials
	}
	token := newToken()
	s.sessions[token] = &session{r.installation, owner.SessionTimeout, now().Add(owner.SessionTimeout)}
	return success(idObject(s.lastID.Add(1)), s.token(token), object{owner.Kind: owner.object()})
}

func idObject(id int64) object { return object{"Id": object{"id": id}} }

func (s *Server) token(value string) object {
	created := now().Format(timeLayout)
	return object{"Token": object{"id": s.lastID.Add(1), "created": created, "updated": created, "token": value}}
}

// object returns the user object of a session. That of an OAuth access token has the timeout one level down.
func (u *User) object() object {
	withTimeout := object{"id": u.ID, "session_timeout": int(u.SessionTimeout / time.Second)}
	if u.Kind != "UserApiKey" {
		return withTimeout
	}
	granter := object{"UserPerson": object{"id": u.ID}}
	return object{"id": u.ID, "requested_by_user": object{"UserCompany": withTimeout}, "granted_by_user": granter}
}

// readDeviceServer is GET /device-server/{id}. Options.OwnInstallationOnly applies to the list alone.
func (s *Server) readDeviceServer(r *request) *response {
	for _, d := range s.devices {
		if r.URL.Path == fmt.Sprintf("/v1/device-server/%d", d.ID) && d.userID == r.installation.device.userID {
			return success(d.object())
		}
	}
	return failure(http.StatusNotFound, "DeviceServer not found.")
}

// listDeviceServers is GET /device-server.
func (s *Server) listDeviceServers(r *request) *response {
	query := r.URL.Query()
	count, invalidCount := strconv.Atoi(cmp.Or(query.Get("count"), "10"))
	older, invalidOlder := strconv.ParseInt(cmp.Or(query.Get("older_id"), "0"), 10, 64)
	newer, invalidNewer := strconv.ParseInt(cmp.Or(query.Get("newer_id"), "0"), 10, 64)
	if errors.Join(invalidCount, invalidOlder, invalidNewer) != nil || count < 1 || count > 200 {
		return badRequest("The pagination is invalid: count is 1 to 200, older_id and newer_id are ids.")
	}
	all := slices.DeleteFunc(slices.Clone(s.devices), func(d *device) bool {
		hidden := s.options.OwnInstallationOnly && d.installation != r.installation
		return hidden || d.userID != r.installation.device.userID
	})
	page := slices.DeleteFunc(slices.Clone(all), func(d *device) bool {
		return d.ID <= newer || older > 0 && d.ID >= older
	})
	if newer > 0 {
		page = page[max(0, len(page)-count):]
	}
	page = page[:min(count, len(page))]
	items := []object{} // not null in JSON
	for _, d := range page {
		items = append(items, d.object())
	}
	return &response{http.StatusOK, object{"Response": items, "Pagination": pagination(all, page, count)}}
}

// pagination has a URL for each direction in which there are more device servers. The future_url is for those that do
// not exist yet.
func pagination(all, page []*device, count int) object {
	links := object{"future_url": nil, "newer_url": nil, "older_url": nil}
	if len(page) == 0 {
		return links
	}
	newest, oldest := page[0], page[len(page)-1]
	newerLink := "newer_url"
	if newest == all[0] {
		newerLink = "future_url"
	}
	links[newerLink] = fmt.Sprintf("/v1/device-server?newer_id=%d&count=%d", newest.ID, count)
	if oldest != all[len(all)-1] {
		links["older_url"] = fmt.Sprintf("/v1/device-server?older_id=%d&count=%d", oldest.ID, count)
	}
	return links
}

func (d *device) object() object {
	return object{"DeviceServer": object{
		"id": d.ID, "created": d.Created.UTC().Format(timeLayout), "updated": d.Updated.UTC().Format(timeLayout),
		"description": d.Description, "ip": d.IP, "status": d.Status,
		// bunq does not document this field. Its value varies.
		"avatar": []any{nil, "text", 1.5, true}[rand.N(4)], //nolint:gosec // not secret
	}}
}
