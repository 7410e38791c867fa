package bunq

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// objects are the one-key objects of a Response array. They are read by key, although bunq sends them in order.
type objects map[string]json.RawMessage

func decodeObjects(body []byte) (objects, error) {
	var envelope struct{ Response []objects }
	if json.Unmarshal(body, &envelope) != nil || len(envelope.Response) == 0 {
		return nil, errors.New(`the answer is not a {"Response":[…]} with objects in it`)
	}
	all := make(objects, len(envelope.Response))
	for _, object := range envelope.Response {
		for key, value := range object {
			all[key] = value
		}
	}
	return all, nil
}

// decode reads one object. Its errors quote nothing of the answer, which may hold a token.
func (o objects) decode(key string, into any) error {
	value, ok := o[key]
	if !ok {
		return fmt.Errorf("the answer has no %s", key)
	}
	if json.Unmarshal(value, into) != nil {
		return fmt.Errorf("the answer's %s is not what bunq documents", key)
	}
	return nil
}

// token returns the token, and when it was made, in bunq's words.
func (o objects) token() (token, created string, err error) {
	var value struct {
		Token   string `json:"token"`
		Created string `json:"created"`
	}
	if err := o.decode("Token", &value); err != nil {
		return "", "", err
	}
	if value.Token == "" {
		return "", "", errors.New("the answer's Token is empty")
	}
	return value.Token, value.Created, nil
}

func decodeID(body []byte) (int64, error) {
	objects, err := decodeObjects(body)
	if err != nil {
		return 0, err
	}
	var id struct {
		ID int64 `json:"id"`
	}
	if err := objects.decode("Id", &id); err != nil {
		return 0, err
	}
	if id.ID < 1 {
		return 0, errors.New("the answer's Id is not a positive number")
	}
	return id.ID, nil
}

// userKinds are the user objects that bunq may send, with the keys under which the SDKs keep them.
var userKinds = map[string]string{
	"UserPerson":                 "user_person",
	"UserCompany":                "user_company",
	"UserApiKey":                 "user_api_key",
	"UserPaymentServiceProvider": "user_payment_service_provider",
}

// maxSessionTimeout is beyond any auto-logout time of bunq's; more would not be a time in seconds.
const maxSessionTimeout = 10 * 365 * 24 * time.Hour

func (o objects) user() (sessionUser, error) {
	kind, ok := o.userKind()
	if !ok {
		return sessionUser{}, errors.New("the answer has no user object")
	}
	var user struct {
		sessionUser
		Timeout     int64   `json:"session_timeout"`
		RequestedBy objects `json:"requested_by_user"`
	}
	if err := o.decode(kind, &user); err != nil {
		return sessionUser{}, err
	}
	if kind == "UserApiKey" { // OAuth: the time is the one of whoever asked for access
		asker, ok := user.RequestedBy.userKind()
		if !ok {
			return sessionUser{}, errors.New("the answer's UserApiKey has no user in requested_by_user")
		}
		var asked struct {
			Timeout int64 `json:"session_timeout"`
		}
		if err := user.RequestedBy.decode(asker, &asked); err != nil {
			return sessionUser{}, err
		}
		user.Timeout = asked.Timeout
	}
	if user.Timeout < 1 || user.Timeout > int64(maxSessionTimeout/time.Second) {
		return sessionUser{}, errors.New("the answer's session_timeout is not a time in seconds")
	}
	user.timeout = time.Duration(user.Timeout) * time.Second
	user.key, user.phpKey, user.raw = userKinds[kind], strings.ToLower(kind[:1])+kind[1:], o[kind]
	return user.sessionUser, nil
}

func (o objects) userKind() (string, bool) {
	for kind := range userKinds {
		if _, ok := o[kind]; ok {
			return kind, true
		}
	}
	return "", false
}

// installationAnswer is what POST /installation answers.
type installationAnswer struct {
	token, serverKey string
	created          string // when, by bunq's clock
}

func (a *installationAnswer) decode(body []byte) error {
	objects, err := decodeObjects(body)
	if err != nil {
		return err
	}
	if a.token, a.created, err = objects.token(); err != nil {
		return err
	}
	var key struct {
		PEM string `json:"server_public_key"`
	}
	if err := objects.decode("ServerPublicKey", &key); err != nil {
		return err
	}
	a.serverKey = key.PEM
	if _, err = time.Parse(timeLayout, a.created); err != nil {
		return errors.New("the answer's Token does not say when it was created")
	}
	_, err = decodePublicKey(key.PEM)
	return err
}

// sessionAnswer is what POST /session-server answers.
type sessionAnswer struct {
	token string
	user  sessionUser
}

// sessionUser is whoever a session belongs to.
type sessionUser struct {
	ID      int64 `json:"id"`
	timeout time.Duration
	key     string          // of the SDKs' session_context
	phpKey  string          // of the PHP SDK's, in camelCase
	raw     json.RawMessage // as bunq sent it: the SDKs want it back
}

func (a *sessionAnswer) decode(body []byte) error {
	objects, err := decodeObjects(body)
	if err != nil {
		return err
	}
	if a.token, _, err = objects.token(); err != nil {
		return err
	}
	a.user, err = objects.user()
	return err
}
