package bunq

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
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
	err = c.post(ctx, request{Operation: CreateInstallation}, body, func(answer *handshake) (err error) {
		if made.Token, made.Created, err = answer.token(); err == nil {
			made.ServerKey, err = ParsePublicKey(answer.ServerPublicKey.Key)
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
	err = c.post(ctx, call, r, func(answer *handshake) error {
		if id = answer.ID.ID; id < 1 {
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
	err = c.post(ctx, call, body, func(answer *handshake) (err error) {
		if opened.Token, _, err = answer.token(); err == nil {
			opened.User, opened.Timeout, err = answer.user()
		}
		return err
	})
	return opened, err
}

// post makes one of the three calls that log in.
func (c *Client) post(ctx context.Context, r request, body any, use func(*handshake) error) error {
	r.path = r.Endpoint
	r.body, _ = json.Marshal(body) // of strings: it cannot fail
	r.decode = func(body []byte) error {
		var answer handshake
		if err := answer.decode(body); err != nil {
			return err
		}
		return use(&answer)
	}
	return c.do(ctx, r)
}

// handshake is the Response array of the three calls that log in, its objects taken together.
type handshake struct {
	ID struct {
		ID int64 `json:"id"`
	} `json:"Id"`
	Token struct {
		Token   string `json:"token"`
		Created string `json:"created"`
	}
	ServerPublicKey struct {
		Key string `json:"server_public_key"`
	}
	objects map[string]json.RawMessage
}

// decode reads the objects by their keys. Its errors quote nothing of the answer, which may hold a token.
func (h *handshake) decode(body []byte) error {
	var envelope struct{ Response []json.RawMessage }
	if json.Unmarshal(body, &envelope) != nil || len(envelope.Response) == 0 {
		return errors.New(`answer is not a {"Response":[…]} with objects in it`)
	}
	for _, object := range envelope.Response {
		if json.Unmarshal(object, h) != nil || json.Unmarshal(object, &h.objects) != nil {
			return errors.New("an object of the answer is not what bunq documents")
		}
	}
	return nil
}

// sendable matches tokens that can be sent in a header.
var sendable = regexp.MustCompile(`^[!-~]+$`)

func (h *handshake) token() (token string, created time.Time, err error) {
	created = parseTime(h.Token.Created)
	if !sendable.MatchString(h.Token.Token) || created.IsZero() {
		err = errors.New("answer has no usable token with the time of its creation")
	}
	return h.Token.Token, created, err
}

// userObject is the user of a session.
type userObject struct {
	ID          int64                 `json:"id"`
	Timeout     int32                 `json:"session_timeout"` // in seconds
	RequestedBy map[string]userObject `json:"requested_by_user"`
}

// user returns the user and its session_timeout. For OAuth, the timeout is that of the user that asked for access.
func (h *handshake) user() (User, time.Duration, error) {
	for _, kind := range []string{"UserPerson", "UserCompany", "UserApiKey", "UserPaymentServiceProvider"} {
		var user userObject
		err := json.Unmarshal(h.objects[kind], &user)
		if kind == "UserApiKey" {
			user.Timeout = 0
			for _, by := range user.RequestedBy {
				user.Timeout = max(user.Timeout, by.Timeout)
			}
		}
		if err == nil && user.Timeout > 0 {
			return User{kind, user.ID, h.objects[kind]}, time.Duration(user.Timeout) * time.Second, nil
		}
	}
	return User{}, 0, errors.New("answer has no user with a session_timeout in seconds")
}
