package bunq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// loginInterval is bunq's limit: one POST /session-server in 30 s. A key that was refused waits as long.
	loginInterval = 30 * time.Second
	// loginTimeout bounds registration and login. They are not cut off with the reading that began them: each attempt
	// leaves a device server or a session at bunq, and where bunq is slow no attempt would ever succeed.
	loginTimeout = 30 * time.Second
)

var errTooSoon = errors.New("bunq allows one login in 30 s, and the session from the last one has ended already")

// handshake does the steps that are still missing, in bunq's order. Each is kept before the next is begun. Whoever comes
// while a login is under way waits for that one.
func (c *Client) handshake(ctx context.Context, apiKey, refused string) error {
	if c.current().token == "" {
		if err := c.install(ctx, apiKey); err != nil {
			return err
		}
	}
	done := c.logins.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginTimeout)
		defer cancel()
		return nil, c.logIn(ctx, apiKey, refused)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("waiting for bunq to answer the login: %w", ctx.Err())
	}
}

// install makes an installation for a fresh key pair. The file is written first, so that one that cannot be written is
// found out before anything is sent.
func (c *Client) install(ctx context.Context, apiKey string) error {
	installation, err := newInstallation()
	if err != nil {
		return err
	}
	planned, err := c.current().withInstallation(apiKey, installation, "")
	if err != nil {
		return err
	}
	if err := c.keep(planned); err != nil {
		return err
	}
	var answer installationAnswer
	if err := c.do(ctx, exchange{
		Operation: CreateInstallation,
		path:      "installation",
		body:      map[string]string{"client_public_key": installation.PublicKeyClient},
		decode:    answer.decode, // not verified: the key to verify it with comes in it
	}); err != nil {
		return err
	}
	installation.Token, installation.PublicKeyServer = answer.token, answer.serverKey
	made, err := planned.withInstallation(apiKey, installation, answer.created)
	if err != nil {
		return err
	}
	return c.keep(made)
}

// logIn registers if need be, and opens a session. After a login, or a key that was refused, bunq is left alone for its
// 30 s: whoever comes sooner gets the outcome of that.
func (c *Client) logIn(ctx context.Context, apiKey, refused string) error {
	known := c.current()
	if known.usable(sessionLeeway, refused) {
		return nil // by a login that ended after the caller had looked
	}
	if wait := loginInterval - time.Since(c.lastLogin); wait > 0 {
		if c.lastErr != nil {
			return c.lastErr
		}
		return &Error{Operation: CreateSessionServer, Reason: ReasonRateLimited, RetryAfter: wait, Err: errTooSoon}
	}
	if !known.registered {
		err := c.register(ctx, apiKey)
		if ReasonOf(err) == ReasonCredentials {
			c.lastLogin, c.lastErr = time.Now(), err
		}
		if err != nil {
			return err
		}
	}
	return c.openSession(ctx, apiKey)
}

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
	renewed, err := known.withSession(apiKey, answer.token, c.lastLogin.Add(answer.user.timeout), answer.user)
	if err != nil {
		return err
	}
	if known.session.token != "" {
		c.mu.Lock()
		c.renewals++
		c.mu.Unlock()
	}
	_ = c.keep(renewed) // a session that is lost with the process can be had anew: Login tells of the error
	return nil
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
