package bunq

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// apiContext is what is kept of the handshake, in the JSON layout that bunq's SDKs share. It is never changed: a step
// of the handshake makes a new one, so a reader needs no lock.
type apiContext struct {
	// document is the file, key by key. What others keep in it survives our writing.
	document map[string]json.RawMessage

	// The rest is read from the document.
	environment    Environment
	apiKey         string
	token          string          // of the installation; "" before there is one
	privateKey     *rsa.PrivateKey // nil in a context that was stripped of it
	serverKey      *rsa.PublicKey
	installed      time.Time // when, by bunq's clock; zero if unknown
	requested      string    // the description of the device server that bunq may have been asked for; "" if it was not
	registered     bool      // whether the installation has its device server
	deviceServerID int64     // 0 if unknown: the SDKs do not keep it
	tried          time.Time // when bunq was last asked for a session, by this clock; zero if unknown
	session        session
}

// session is an open session; its zero value is none.
type session struct {
	token  string
	expiry time.Time
}

// The keys of the document. The last four are ours alone. A device_server_id of 0 says that there is none yet.
const (
	environmentKey  = "environment_type"
	apiKeyKey       = "api_key"
	installationKey = "installation_context"
	sessionKey      = "session_context"
	deviceServerKey = "device_server_id"
	requestedKey    = "device_server_requested"
	installedKey    = "installation_created"
	triedKey        = "session_requested"
)

type installationJSON struct {
	Token            string `json:"token"`
	PrivateKeyClient string `json:"private_key_client"`
	PublicKeyClient  string `json:"public_key_client"`
	PublicKeyServer  string `json:"public_key_server"`
}

// expiryLayout is the SDKs' format of expiry_time: the writer's local time, without a zone.
const expiryLayout = "2006-01-02 15:04:05.000000"

func parseContext(text []byte) (*apiContext, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // the C# SDK writes a byte order mark
	var document map[string]json.RawMessage
	if json.Unmarshal(text, &document) != nil || document == nil {
		return nil, errors.New("is not the JSON object that bunq's SDKs write")
	}
	return contextOf(document)
}

// contextOf reads the document. Its errors quote nothing: the document holds secrets.
func contextOf(document map[string]json.RawMessage) (*apiContext, error) {
	c := &apiContext{document: document}
	var environment, installed string
	var installation installationJSON
	for key, into := range map[string]any{
		environmentKey: &environment, apiKeyKey: &c.apiKey, installationKey: &installation,
		deviceServerKey: &c.deviceServerID, requestedKey: &c.requested, installedKey: &installed, triedKey: &c.tried,
	} {
		if value, ok := document[key]; ok && json.Unmarshal(value, into) != nil {
			return nil, fmt.Errorf("holds something else under %s than bunq's SDKs or this program write there", key)
		}
	}
	c.installed, _ = time.Parse(timeLayout, installed) // unknown where it cannot be read
	c.environment = Environment(strings.ToLower(environment))
	if err := c.readInstallation(installation); err != nil {
		return nil, err
	}
	_, ours := document[deviceServerKey]
	c.registered = c.token != "" && (!ours || c.deviceServerID != 0) // the SDKs write only after the whole handshake
	// To install anew over what is left of a context would be to register anew.
	_, installs := document[installationKey]
	_, opens := document[sessionKey]
	if c.token == "" && (c.deviceServerID != 0 || c.requested != "" || !ours && (installs || opens)) {
		return nil, errors.New("has lost the installation's token")
	}
	if c.token != "" { // a session without bunq's key could only be used unverified
		c.session = sessionOf(document[sessionKey])
	}
	return c, nil
}

// readInstallation takes over the token and the keys that belong to it.
func (c *apiContext) readInstallation(installation installationJSON) (err error) {
	if installation.Token == "" {
		return nil
	}
	c.token = installation.Token
	if c.serverKey, err = decodePublicKey(installation.PublicKeyServer); err != nil {
		return fmt.Errorf("holds a public_key_server that is %w", err)
	}
	if installation.PrivateKeyClient == "" {
		return nil
	}
	if c.privateKey, err = decodePrivateKey(installation.PrivateKeyClient); err != nil {
		return fmt.Errorf("holds a private_key_client that is %w", err)
	}
	return nil
}

// sessionOf reads a session_context. One that cannot be read counts as none: a session can always be had anew.
func sessionOf(text json.RawMessage) session {
	var s struct {
		Token  string `json:"token"`
		Expiry string `json:"expiry_time"`
	}
	if json.Unmarshal(text, &s) != nil {
		return session{}
	}
	expiry, err := time.ParseInLocation(expiryLayout, s.Expiry, time.Local)
	if err != nil {
		return session{}
	}
	// At the end of summer time an hour comes twice. The later one is safe: bunq refuses a session that has ended.
	if later := expiry.Add(time.Hour); later.Format(expiryLayout) == expiry.Format(expiryLayout) {
		expiry = later
	}
	return session{token: s.Token, expiry: expiry}
}

// with returns the context with some keys of its document replaced, or left out where the value is nil.
func (c *apiContext) with(values map[string]any) (*apiContext, error) {
	document := maps.Clone(c.document)
	if document == nil {
		document = make(map[string]json.RawMessage, len(values))
	}
	for key, value := range values {
		if value == nil {
			delete(document, key)
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding %s of the API context: %w", key, err)
		}
		document[key] = text
	}
	return contextOf(document)
}

// newInstallation returns an installation to be: a fresh key pair, without what bunq will answer.
func newInstallation() (installationJSON, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return installationJSON{}, fmt.Errorf("making a key pair: %w", err)
	}
	private, err := encodePrivateKey(key)
	if err != nil {
		return installationJSON{}, fmt.Errorf("encoding the private key: %w", err)
	}
	public, err := encodePublicKey(&key.PublicKey)
	if err != nil {
		return installationJSON{}, fmt.Errorf("encoding the public key: %w", err)
	}
	return installationJSON{PrivateKeyClient: private, PublicKeyClient: public}, nil
}

// withInstallation returns a context that begins anew with an installation, made at the time given in bunq's words.
func (c *apiContext) withInstallation(apiKey string, installation installationJSON, created string) (*apiContext, error) {
	return c.with(map[string]any{
		environmentKey:  strings.ToUpper(string(c.environment)),
		apiKeyKey:       apiKey,
		installationKey: installation,
		installedKey:    created,
		sessionKey:      nil,
		deviceServerKey: 0,
		requestedKey:    nil,
	})
}

// withSession returns the context with a session in place of any earlier one, as the SDKs keep it.
func (c *apiContext) withSession(apiKey, token string, expiry time.Time, user sessionUser) (*apiContext, error) {
	return c.with(map[string]any{
		apiKeyKey: apiKey,
		sessionKey: map[string]any{
			"token": token,
			// In whole seconds: the Java SDK takes six digits after the point for milliseconds.
			"expiry_time": expiry.Local().Truncate(time.Second).Format(expiryLayout),
			"user_id":     user.ID,
			user.key:      user.raw,
			user.phpKey:   user.raw,
		},
	})
}
