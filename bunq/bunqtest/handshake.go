package bunqtest

import (
	"strings"
	"time"

	"bunq_exporter/bunq"
)

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
