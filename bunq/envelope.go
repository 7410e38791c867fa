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
