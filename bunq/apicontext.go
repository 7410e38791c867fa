package bunq

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
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
	session        session
}

// session is an open session; its zero value is none.
type session struct {
	token  string
	expiry time.Time
}

// usable reports whether there is a session that lasts for the time given, and that bunq has not refused.
func (c *apiContext) usable(d time.Duration, refused string) bool {
	return c.session.token != "" && c.session.token != refused && time.Until(c.session.expiry) > d
}

// The keys of the document. The last three are ours alone. A device_server_id of 0 says that there is none yet.
const (
	environmentKey  = "environment_type"
	apiKeyKey       = "api_key"
	installationKey = "installation_context"
	sessionKey      = "session_context"
	deviceServerKey = "device_server_id"
	requestedKey    = "device_server_requested"
	installedKey    = "installation_created"
)

type installationJSON struct {
	Token            string `json:"token"`
	PrivateKeyClient string `json:"private_key_client"`
	PublicKeyClient  string `json:"public_key_client"`
	PublicKeyServer  string `json:"public_key_server"`
}

// expiryLayout is the SDKs' format of expiry_time: the writer's local time, without a zone.
const expiryLayout = "2006-01-02 15:04:05.000000"

// readContext reads an API context file of ours or of an SDK. A file that does not exist is an empty context.
func readContext(path string, environment Environment) (*apiContext, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &apiContext{environment: environment}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the API context: %w", err)
	}
	c, err := parseContext(text)
	if err != nil {
		return nil, fmt.Errorf("the API context file %s %w; put a backup in its place, or move it away to register "+
			"a new device server (bunq keeps the old one on the account for ever)", path, err)
	}
	if c.environment == "" {
		c.environment = environment
	}
	if c.environment != environment {
		return nil, fmt.Errorf("the API context file %s is one for %s, but the environment is configured as %s: "+
			"correct the environment, or name another context file", path, c.environment, environment)
	}
	return c, nil
}

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
	c := &apiContext{document: document, registered: true} // the SDKs write only after the whole handshake
	var environment, installed string
	var installation installationJSON
	for key, into := range map[string]any{
		environmentKey: &environment, apiKeyKey: &c.apiKey, installationKey: &installation,
		deviceServerKey: &c.deviceServerID, requestedKey: &c.requested, installedKey: &installed,
	} {
		if value, ok := document[key]; ok && json.Unmarshal(value, into) != nil {
			return nil, fmt.Errorf("holds something else under %s than bunq's SDKs or this program write there", key)
		}
	}
	c.installed, _ = time.Parse(timeLayout, installed) // unknown where it cannot be read
	c.environment = Environment(strings.ToLower(environment))
	if _, ours := document[deviceServerKey]; ours {
		c.registered = c.deviceServerID != 0
	}
	if err := c.readInstallation(installation); err != nil {
		return nil, err
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
			"token":       token,
			"expiry_time": expiry.Local().Format(expiryLayout),
			"user_id":     user.ID,
			user.key:      user.raw,
		},
	})
}

// write puts the context into its file: whole or not at all, readable by its owner alone, indented as the Python SDK does.
func (c *apiContext) write(path string) error {
	text, err := json.MarshalIndent(c.document, "", "    ")
	if err != nil {
		return fmt.Errorf("encoding the API context: %w", err)
	}
	if err := replaceFile(path, append(text, '\n')); err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the name of the temporary file, which differs from try to try
		}
		return fmt.Errorf("keeping the API context: %s: %w: its folder must exist and be writable for this program", path, err)
	}
	return nil
}

// replaceFile is not renameio.WriteFile, which would keep the mode of a file that is open to others, as the SDKs' are.
func replaceFile(path string, text []byte) error {
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}
