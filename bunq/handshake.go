package bunq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// loginInterval is bunq's limit: one POST /session-server in 30 s. A registration that fails waits as long.
	loginInterval = 30 * time.Second
	// loginTimeout bounds registration and login. They are not cut off with the reading that began them: each attempt
	// leaves a device server or a session at bunq, and where bunq is slow no attempt would ever succeed.
	loginTimeout = 30 * time.Second
)

var (
	errTooSoon    = errors.New("bunq allows one login in 30 s, and the last one is not that long ago")
	errUnanswered = errors.New("bunq has not answered the login yet")
)

// logIn does what is missing of the handshake, or waits for whoever does it already. If there is another way of reading,
// it waits for no more than half of ctx's time, and not at all for a login that somebody has waited for in vain.
func (c *Client) logIn(ctx context.Context, otherwise bool) error {
	if otherwise {
		if c.waitedInVain() {
			return errUnanswered
		}
		if deadline, ok := ctx.Deadline(); ok {
			half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
			defer cancel()
			ctx = half
		}
	}
	var own atomic.Bool              // whether the login under way is this call's
	goesOn := make(chan struct{}, 1) // it does not end with ctx any more
	done := c.logins.DoChan("", func() (any, error) {
		own.Store(true)
		c.setUnderWay(true)
		defer c.setUnderWay(false)
		return nil, c.handshake(ctx, func() { goesOn <- struct{}{} })
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
	}
	if own.Load() {
		select {
		case result := <-done: // ended with ctx, and says with what
			return result.Err
		case <-goesOn:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited = c.underWay
	return fmt.Errorf("%w: %w", errUnanswered, ctx.Err())
}

func (c *Client) waitedInVain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited
}

func (c *Client) setUnderWay(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay, c.awaited = now, false
}

// handshake does the steps that are still missing, in bunq's order. Each is kept before the next is begun. Waiting for
// other processes, and an installation, which costs nothing to repeat, end with ctx; the rest goesOn.
func (c *Client) handshake(ctx context.Context, goesOn func()) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := c.reread() // another process, an SDK or a person may have written it meanwhile
	if err != nil || c.open(known, sessionLeeway) {
		return err
	}
	key, err := c.apiKey(known)
	if err != nil || key == "" {
		return err
	}
	if known.token == "" {
		if err := c.install(ctx, key); err != nil {
			return err
		}
	}
	goesOn()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginTimeout)
	defer cancel()
	return c.enter(ctx, key)
}

// enter registers if need be, and opens a session.
func (c *Client) enter(ctx context.Context, apiKey string) error {
	hidden, err := c.takeUp(ctx)
	if err != nil {
		return err
	}
	if err := c.pause(ctx, apiKey); err != nil {
		return err
	}
	secret := apiKey + c.current().token
	before := c.tried
	err = c.registerAndOpen(ctx, apiKey, hidden)
	if c.tried.Equal(before) {
		return err // bunq was not asked
	}
	c.tried = time.Now() // bunq may count from its answer
	if err == nil {
		c.failed, c.refusals = nil, refusal{}
		return nil
	}
	c.failed = c.explainRefusal(ctx, err, apiKey)
	if refused(c.failed) {
		c.refusals = c.refusals.again(secret, c.failed)
	}
	return c.failed
}

// pause returns an error while bunq is to be left alone: for its 30 s, or as long as it says, and after a refusal for
// longer, unless key or installation have changed. While the own device server is not ACTIVE no key is sent at all. A time
// in the file that is yet to come is of a clock that was put back.
func (c *Client) pause(ctx context.Context, apiKey string) error {
	known := c.current()
	last, interval := c.tried, loginInterval
	if known.tried.After(last) && !known.tried.After(time.Now()) { // by another process, or before the start
		last = known.tried
	}
	var e *Error
	if errors.As(c.failed, &e) && e.StatusCode == http.StatusTooManyRequests {
		interval = max(interval, e.RetryAfter)
	}
	since := time.Since(last)
	switch {
	case since < interval && c.failed == nil:
		return &Error{Operation: CreateSessionServer, Reason: ReasonRateLimited, RetryAfter: interval - since, Err: errTooSoon}
	case since < interval, c.refusals.holds(apiKey + known.token):
		return c.failed
	}
	if inactive(c.failed) {
		if now := c.ownStanding(ctx); explanations[now].state == LoginDeviceNotActive {
			c.tried = time.Now()
			return c.failed
		}
	}
	return nil
}

// registerAndOpen logs in first where bunq does not show whether it has made the device server: it opens no session
// without one.
func (c *Client) registerAndOpen(ctx context.Context, apiKey string, hidden error) error {
	if c.current().privateKey == nil {
		return fmt.Errorf("%s holds no private key, so no login can be signed: leave the API key out to read with "+
			"the installation alone, or name a whole context file", c.config.ContextFile)
	}
	if !c.current().registered && hidden == nil {
		if err := c.register(ctx, apiKey); err != nil {
			return err
		}
	}
	err := c.openSession(ctx, apiKey)
	switch {
	case hidden != nil && err == nil:
		return c.registeredUnseen(ctx)
	case hidden != nil && ReasonOf(err) == ReasonCredentials:
		return &loginError{otherCause, c.registrationUnknown(hidden)}
	}
	return err
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
	if err := c.commit(planned); err != nil {
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
	return c.commit(made)
}

// openSession writes ahead that it asks for a session, so that bunq's 30 s hold across a restart.
func (c *Client) openSession(ctx context.Context, apiKey string) error {
	known := c.current()
	start := time.Now()
	asking, err := known.with(map[string]any{triedKey: start.UTC()})
	if err != nil {
		return err
	}
	c.keep(asking)
	c.tried = start
	var answer sessionAnswer
	if err := c.do(ctx, exchange{
		Operation: CreateSessionServer,
		path:      "session-server",
		token:     known.token,
		body:      map[string]string{"secret": apiKey},
		secret:    apiKey,
		signer:    known.privateKey,
		server:    known.serverKey,
		decode:    answer.decode,
	}); err != nil {
		return err
	}
	renewed, err := asking.withSession(apiKey, answer.token, start.Add(answer.user.timeout), answer.user)
	if err != nil {
		return err
	}
	if known.session.token != "" {
		c.mu.Lock()
		c.renewals++
		c.mu.Unlock()
	}
	c.keep(renewed) // one that is lost with the process can be had anew
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
