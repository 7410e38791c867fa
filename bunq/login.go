package bunq

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// sessionLeeway is how long before its end a session is renewed: the SDKs do it when 30 s or less are left.
	sessionLeeway = 30 * time.Second
	// loginInterval is bunq's limit: one POST /session-server in 30 s. A key that was refused waits as long.
	loginInterval = 30 * time.Second
	// registrationTimeout bounds POST /device-server, which is not cut off with the reading that started it: each try
	// makes one more device server that bunq keeps for ever.
	registrationTimeout = 30 * time.Second
)

// Login is what a client knows of its own standing with bunq.
type Login struct {
	DeviceServerID  int64     // of the client's own device server; 0 before it is registered, or if an SDK registered it
	SessionExpiry   time.Time // when the session ends; zero without one
	SessionRenewals int       // sessions that this client opened in place of an earlier one
}

// Login returns what is known now. It neither waits nor sends anything.
func (c *Client) Login() Login {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil {
		return Login{}
	}
	return Login{c.context.deviceServerID, c.context.session.expiry, c.renewals}
}

// current returns the API context, nil before it was read.
func (c *Client) current() *apiContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.context
}

// authenticate returns the context and the token to read with, after whatever is still missing of the handshake. A
// token that bunq has refused is not returned again. Without an API key it is the installation's token.
func (c *Client) authenticate(ctx context.Context, refused string) (*apiContext, string, error) {
	select {
	case c.login <- struct{}{}:
		defer func() { <-c.login }()
	case <-ctx.Done():
		return nil, "", fmt.Errorf("waiting for a login under way: %w", ctx.Err())
	}
	known, err := c.load()
	if err != nil {
		return nil, "", err
	}
	if known.session.lasts(sessionLeeway) && known.session.token != refused {
		return known, known.session.token, nil
	}
	key, err := c.apiKey(known)
	if err != nil {
		return nil, "", err
	}
	if key == "" {
		return c.withoutKey(known)
	}
	if err := c.handshake(ctx, key); err != nil {
		// A session that has not ended yet is good for reading, even if no other can be had now.
		if known.session.lasts(0) && known.session.token != refused {
			return known, known.session.token, nil
		}
		return nil, "", err
	}
	known = c.current()
	return known, known.session.token, nil
}

func (c *Client) withoutKey(known *apiContext) (*apiContext, string, error) {
	if known.token == "" {
		return nil, "", fmt.Errorf("there is neither an API key nor an installation in %s: set api_key_file, or name "+
			"the context file of an installation that exists", c.config.ContextFile)
	}
	return known, known.token, nil
}

// handshake does the steps that are still missing, in bunq's order. Each is kept before the next is begun. A key is
// shown to bunq at most once in its 30 s: whoever comes sooner gets the outcome of the last attempt.
func (c *Client) handshake(ctx context.Context, key string) error {
	if wait := loginInterval - time.Since(c.lastLogin); wait > 0 {
		if c.lastErr != nil {
			return c.lastErr
		}
		return &Error{Operation: CreateSessionServer, Reason: ReasonRateLimited, RetryAfter: wait,
			Err: errors.New("bunq allows one login in 30 s, and the session from the last one has ended already")}
	}
	if c.current().token == "" {
		if err := c.install(ctx, key); err != nil {
			return err
		}
	}
	if !c.current().registered {
		err := c.register(ctx, key)
		var apiError *Error
		if errors.As(err, &apiError) && apiError.Reason == ReasonCredentials {
			c.lastLogin, c.lastErr = time.Now(), err
		}
		if err != nil {
			return err
		}
	}
	return c.openSession(ctx, key)
}

// load reads the context file once, and writes it again where an earlier attempt to write it failed.
func (c *Client) load() (*apiContext, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil {
		known, err := readContext(c.config.ContextFile, c.config.Environment)
		if err != nil {
			return nil, err
		}
		c.context = known
	}
	if c.unsaved {
		return c.context, c.save()
	}
	return c.context, nil
}

// keep takes over a new context and writes it. Where that fails the new context is still the one in use: what bunq has
// made must not be made twice.
func (c *Client) keep(known *apiContext) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.context = known
	return c.save()
}

func (c *Client) save() error {
	err := c.context.write(c.config.ContextFile)
	c.unsaved = err != nil
	return err
}

func (c *Client) apiKey(known *apiContext) (string, error) {
	if c.config.APIKey != nil {
		if key, err := c.config.APIKey(); err != nil || key != "" {
			return key, err
		}
	}
	return known.apiKey, nil
}

// install makes an installation for a fresh key pair. The file is written first, so that one that cannot be written is
// found out before anything is sent.
func (c *Client) install(ctx context.Context, apiKey string) error {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("making a key pair: %w", err)
	}
	planned, err := c.current().withInstallation(apiKey, key, "", "")
	if err != nil {
		return err
	}
	if err := c.keep(planned); err != nil {
		return err
	}
	var answer installationAnswer
	public, err := encodePublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("encoding the public key: %w", err)
	}
	if err := c.do(ctx, exchange{
		Operation: CreateInstallation,
		path:      "installation",
		body:      map[string]string{"client_public_key": public},
		decode:    answer.decode, // not verified: the key to verify it with comes in it
	}); err != nil {
		return err
	}
	made, err := planned.withInstallation(apiKey, key, answer.token, answer.serverKey)
	if err != nil {
		return err
	}
	return c.keep(made)
}

// register makes the device server. It goes on when ctx ends, and whoever comes meanwhile waits for the same call.
func (c *Client) register(ctx context.Context, apiKey string) error {
	done := c.registration.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), registrationTimeout)
		defer cancel()
		return nil, c.createDeviceServer(ctx, apiKey)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the registration of the device server: %w", ctx.Err())
	}
}

func (c *Client) createDeviceServer(ctx context.Context, apiKey string) error {
	known := c.current()
	if known.registered { // by a call that ended after the caller had looked
		return nil
	}
	var id int64
	if err := c.do(ctx, exchange{
		Operation: CreateDeviceServer,
		path:      "device-server",
		token:     known.token,
		body: struct {
			Description  string   `json:"description"`
			Secret       string   `json:"secret"`
			PermittedIPs []string `json:"permitted_ips,omitempty"`
		}{c.config.Description, apiKey, c.config.PermittedIPs},
		secret: apiKey,
		signer: known.privateKey,
		server: known.serverKey,
		decode: func(body []byte) (err error) { id, err = decodeID(body); return err },
	}); err != nil {
		return err
	}
	registered, err := known.with(map[string]any{deviceServerKey: id})
	if err != nil {
		return err
	}
	return c.keep(registered)
}

// openSession logs in.
func (c *Client) openSession(ctx context.Context, apiKey string) error {
	known := c.current()
	if known.privateKey == nil {
		return fmt.Errorf("%s holds no private key, so no login can be signed: leave the API key out to read with "+
			"the installation alone, or name a whole context file", c.config.ContextFile)
	}
	c.lastLogin = time.Now()
	var answer sessionAnswer
	c.lastErr = c.do(ctx, exchange{
		Operation: CreateSessionServer,
		path:      "session-server",
		token:     known.token,
		body:      map[string]string{"secret": apiKey},
		secret:    apiKey,
		signer:    known.privateKey,
		server:    known.serverKey,
		decode:    answer.decode,
	})
	if c.lastErr != nil {
		return c.lastErr
	}
	return c.keepSession(known, apiKey, answer)
}

func (c *Client) keepSession(known *apiContext, apiKey string, answer sessionAnswer) error {
	renewed, err := known.withSession(apiKey, answer.token, c.lastLogin.Add(answer.user.timeout), answer.user)
	if err != nil {
		return err
	}
	if known.session.token != "" {
		c.mu.Lock()
		c.renewals++
		c.mu.Unlock()
	}
	return c.keep(renewed)
}

// installationAnswer is what POST /installation answers.
type installationAnswer struct{ token, serverKey string }

func (a *installationAnswer) decode(body []byte) error {
	objects, err := decodeObjects(body)
	if err != nil {
		return err
	}
	if a.token, err = objects.token(); err != nil {
		return err
	}
	var key struct {
		PEM string `json:"server_public_key"`
	}
	if err := objects.decode("ServerPublicKey", &key); err != nil {
		return err
	}
	a.serverKey = key.PEM
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
	raw     json.RawMessage // as bunq sent it: the SDKs want it back
}

func (a *sessionAnswer) decode(body []byte) error {
	objects, err := decodeObjects(body)
	if err != nil {
		return err
	}
	if a.token, err = objects.token(); err != nil {
		return err
	}
	a.user, err = objects.user()
	return err
}
