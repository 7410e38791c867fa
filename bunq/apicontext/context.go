// Package apicontext reads and writes the API context file of bunq's official SDKs.
//
// The file holds what the handshake with bunq yields and must not be requested twice: the installation, the device
// server and the session. docs/context-file.md describes its keys.
package apicontext

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"bunq_exporter/bunq"
)

// Context is an API context. Copies share nothing that is changed, so a changed copy is a new context.
type Context struct {
	Environment  bunq.Environment
	APIKey       string // "" if there is none
	Installation Installation
	Session      Session

	DeviceServerID int64     // 0 if unknown: the SDKs do not store it
	Registered     bool      // the installation has its device server
	Requested      string    // description of a device server whose registration is not confirmed; "" if there is none
	LoginRequested time.Time // when a session was last requested, by the local clock; zero if unknown

	document map[string]json.RawMessage // the file as it was read: keys of others are kept; nil without a file
}

// Installation is made for a key pair, once. Its Token is empty if there is none yet, and Created is zero if unknown.
type Installation struct {
	bunq.Installation
	PrivateKey *rsa.PrivateKey // nil if the file holds none

	read bool // from a file, which stays as it is
}

// Session is an open session. Its Token is empty if there is none.
type Session struct {
	Token  string
	Expiry time.Time
	User   bunq.User // of a session that was opened, not read
}

// The keys of the file. The last four are the exporter's own. A device_server_id of 0 means: not registered yet.
const (
	environmentKey    = "environment_type"
	apiKeyKey         = "api_key"
	installationKey   = "installation_context"
	sessionKey        = "session_context"
	deviceServerKey   = "device_server_id"
	requestedKey      = "device_server_requested"
	installedKey      = "installation_created"
	loginRequestedKey = "session_requested"
)

// timeLayout is bunq's and the SDKs' format of times. expiry_time is the writer's local time, without a zone.
const timeLayout = "2006-01-02 15:04:05.000000"

type installationJSON struct {
	Token            string `json:"token"`
	PrivateKeyClient string `json:"private_key_client"`
	PublicKeyClient  string `json:"public_key_client"`
	PublicKeyServer  string `json:"public_key_server"`
}

// parse reads the text of a file. Its errors quote nothing: the file holds secrets.
func parse(text []byte) (*Context, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // the C# SDK writes a byte order mark
	c := &Context{}
	if json.Unmarshal(text, &c.document) != nil || c.document == nil {
		return nil, errors.New("is not a JSON object")
	}
	var environment, created string
	var installation installationJSON
	for key, into := range map[string]any{
		environmentKey: &environment, apiKeyKey: &c.APIKey, deviceServerKey: &c.DeviceServerID,
		requestedKey: &c.Requested, installedKey: &created, loginRequestedKey: &c.LoginRequested,
		installationKey: &installation,
	} {
		if value, ok := c.document[key]; ok && json.Unmarshal(value, into) != nil {
			return nil, fmt.Errorf("has a value of the wrong type in %s", key)
		}
	}
	c.Environment = bunq.Environment(strings.ToLower(environment))
	if err := c.Installation.parse(installation); err != nil {
		return nil, err
	}
	c.Installation.Created, _ = time.Parse(timeLayout, created)
	_, ours := c.document[deviceServerKey]
	// A new installation in place of a lost one would register a second device server.
	lost := c.DeviceServerID != 0 || c.Requested != "" ||
		!ours && (c.document[installationKey] != nil || c.document[sessionKey] != nil)
	switch {
	case c.Installation.Token != "":
		c.Registered = !ours || c.DeviceServerID != 0    // the SDKs save after registering
		c.Session = parseSession(c.document[sessionKey]) // without bunq's key it could only be used unverified
	case lost:
		return nil, errors.New("has lost the token of its installation")
	}
	return c, nil
}

func (i *Installation) parse(values installationJSON) (err error) {
	if values.Token == "" {
		return nil
	}
	i.Token, i.read = values.Token, true
	if i.ServerKey, err = bunq.ParsePublicKey(values.PublicKeyServer); err != nil {
		return fmt.Errorf("has a public_key_server that is %w", err)
	}
	if values.PrivateKeyClient != "" {
		if i.PrivateKey, err = bunq.ParsePrivateKey(values.PrivateKeyClient); err != nil {
			return fmt.Errorf("has a private_key_client that is %w", err)
		}
	}
	return nil
}

// parseSession reads a session_context. One that cannot be read counts as none: a new session can always be opened.
func parseSession(text json.RawMessage) Session {
	var s struct {
		Token  string `json:"token"`
		Expiry string `json:"expiry_time"`
	}
	_ = json.Unmarshal(text, &s)
	expiry, err := time.ParseInLocation(timeLayout, s.Expiry, time.Local)
	if err != nil {
		return Session{}
	}
	return Session{Token: s.Token, Expiry: expiry}
}

// wordStart matches where a word of a camelCase key begins.
var wordStart = regexp.MustCompile("([a-z])([A-Z])")

// encode returns the text of the file, indented as the Python SDK does. What was read and not changed is kept as it
// was.
func (c *Context) encode() []byte {
	document := map[string]any{}
	for key, value := range c.document {
		document[key] = value
	}
	set := func(key string, value any, present bool) {
		if document[key] = value; !present {
			delete(document, key)
		}
	}
	set(environmentKey, strings.ToUpper(string(c.Environment)), true)
	set(apiKeyKey, c.APIKey, c.APIKey != "")
	set(installedKey, c.Installation.Created.Format(timeLayout), !c.Installation.Created.IsZero())
	set(deviceServerKey, c.DeviceServerID, !c.Registered || c.DeviceServerID != 0)
	set(requestedKey, c.Requested, c.Requested != "" && !c.Registered)
	set(loginRequestedKey, c.LoginRequested, !c.LoginRequested.IsZero())
	if i := c.Installation; i.Token != "" && !i.read {
		private, public := bunq.EncodePrivateKey(i.PrivateKey), bunq.EncodePublicKey(&i.PrivateKey.PublicKey)
		document[installationKey] = installationJSON{i.Token, private, public, bunq.EncodePublicKey(i.ServerKey)}
	}
	if kind := c.Session.User.Kind; kind != "" { // it was opened, not read
		document[sessionKey] = map[string]any{
			"token": c.Session.Token,
			// In whole seconds: the Java SDK reads six digits after the point as milliseconds.
			"expiry_time": c.Session.Expiry.Local().Truncate(time.Second).Format(timeLayout),
			"user_id":     c.Session.User.ID,
			// The user under the keys of most SDKs, such as user_person, and of the PHP SDK, such as userPerson.
			strings.ToLower(wordStart.ReplaceAllString(kind, "${1}_$2")): c.Session.User.JSON,
			strings.ToLower(kind[:1]) + kind[1:]:                         c.Session.User.JSON,
		}
	}
	set(sessionKey, document[sessionKey], c.Session.Token != "")
	text, _ := json.MarshalIndent(document, "", "    ") // of text, numbers and valid JSON: it cannot fail
	return append(text, '\n')
}
