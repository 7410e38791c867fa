package bunq

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"time"
)

// Installation is the answer to POST /installation.
type Installation struct {
	Token     string
	ServerKey *rsa.PublicKey // verifies all further answers
	Created   time.Time      // by bunq's clock
}

// CreateInstallation makes an installation for a public key. The answer cannot be verified: the key comes with it.
func (c *Client) CreateInstallation(ctx context.Context, key *rsa.PublicKey) (made Installation, err error) {
	body := map[string]string{"client_public_key": EncodePublicKey(key)}
	err = c.post(ctx, request{Operation: CreateInstallation}, body, func(answer handshake) (err error) {
		if made.Token, made.Created, err = answer.token(); err == nil {
			made.ServerKey, err = ParsePublicKey(answer.object("ServerPublicKey").PublicKey)
		}
		return err
	})
	return made, err
}

// Registration describes a device server to register.
type Registration struct {
	Description  string   `json:"description"`
	APIKey       string   `json:"secret"`
	PermittedIPs []string `json:"permitted_ips,omitempty"` // "*" is any address; none: the caller's address
}

// CreateDeviceServer registers a device server for the installation of the credentials, and returns its id. bunq
// keeps each one for ever.
func (c *Client) CreateDeviceServer(ctx context.Context, with Credentials, r Registration) (id int64, err error) {
	call := request{Operation: CreateDeviceServer, credentials: with, secret: r.APIKey}
	err = c.post(ctx, call, r, func(answer handshake) error {
		if id = answer.object("Id").ID; id < 1 {
			return errors.New("answer has no id")
		}
		return nil
	})
	return id, err
}

// Session is the answer to POST /session-server.
type Session struct {
	Token   string
	Timeout time.Duration // from the start of the session
	User    User
}

// User is the user that a session belongs to.
type User struct {
	Kind string // UserPerson, UserCompany, UserApiKey or UserPaymentServiceProvider
	ID   int64
	JSON json.RawMessage // the object as bunq sent it: the SDKs store it
}

// CreateSession opens a session for the installation of the credentials. bunq allows one in 30 s for each address.
func (c *Client) CreateSession(ctx context.Context, with Credentials, apiKey string) (opened Session, err error) {
	body := map[string]string{"secret": apiKey}
	call := request{Operation: CreateSessionServer, credentials: with, secret: apiKey}
	err = c.post(ctx, call, body, func(answer handshake) (err error) {
		if opened.Token, _, err = answer.token(); err == nil {
			opened.User, opened.Timeout, err = answer.user()
		}
		return err
	})
	return opened, err
}

// post makes one of the three calls that log in. Its errors quote nothing of the answer, which may hold a token.
func (c *Client) post(ctx context.Context, r request, body any, use func(handshake) error) error {
	r.path = r.Endpoint
	r.body, _ = json.Marshal(body) // of strings: it cannot fail
	r.decode = func(text []byte) error {
		var envelope struct{ Response []handshake }
		if json.Unmarshal(text, &envelope) != nil || len(envelope.Response) == 0 {
			return errors.New(`answer is not a {"Response":[…]} with objects in it`)
		}
		answer := handshake{}
		for _, objects := range envelope.Response {
			maps.Copy(answer, objects)
		}
		return use(answer)
	}
	return c.do(ctx, r)
}

// handshake is the Response array of the three calls that log in: its objects, by their keys.
type handshake map[string]json.RawMessage

// object is what is used of the objects.
type object struct {
	ID          int64             `json:"id"`
	Created     string            `json:"created"`
	Token       string            `json:"token"`
	PublicKey   string            `json:"server_public_key"`
	Timeout     int32             `json:"session_timeout"` // in seconds
	RequestedBy map[string]object `json:"requested_by_user"`
}

// object returns an object. What is missing or cannot be read is zero.
func (h handshake) object(key string) (o object) {
	_ = json.Unmarshal(h[key], &o)
	return o
}

// sendable matches tokens that can be sent in a header.
var sendable = regexp.MustCompile(`^[!-~]+$`)

func (h handshake) token() (token string, created time.Time, err error) {
	o := h.object("Token")
	created = parseTime(o.Created)
	if !sendable.MatchString(o.Token) || created.IsZero() {
		err = errors.New("answer has no usable token with the time of its creation")
	}
	return o.Token, created, err
}

// user returns the user and its session_timeout. For OAuth, the timeout is that of the user that asked for access.
func (h handshake) user() (User, time.Duration, error) {
	for _, kind := range []string{"UserPerson", "UserCompany", "UserApiKey", "UserPaymentServiceProvider"} {
		user := h.object(kind)
		if kind == "UserApiKey" {
			user.Timeout = 0
			for _, by := range user.RequestedBy {
				user.Timeout = max(user.Timeout, by.Timeout)
			}
		}
		if user.ID > 0 && user.Timeout > 0 {
			return User{kind, user.ID, h[kind]}, time.Duration(user.Timeout) * time.Second, nil
		}
	}
	return User{}, 0, errors.New("answer has no user with an id and a session_timeout in seconds")
}
