package bunq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// loginInterval is bunq's limit: one POST /session-server in 30 s. A registration that fails waits as long.
	loginInterval = 30 * time.Second
	// loginTimeout bounds registration and login. They are not cut off with the reading that began them: each attempt
	// leaves a device server or a session at bunq, and where bunq is slow no attempt would ever succeed.
	loginTimeout = 30 * time.Second
	// longestRetryAfter bounds what bunq says: a mistake of a gateway's must not end all logins.
	longestRetryAfter = time.Hour
)

// handshake does the steps that are still missing, in bunq's order. Each is kept before the next is begun. Waiting for
// other processes, and an installation, which leaves nothing on the account, end with ctx; the rest goesOn.
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
	if err == nil && key == "" { // the file that was read again has none any more
		err = errNoKey
	}
	if err != nil {
		return err
	}
	if known.token == "" {
		if err := c.pause(ctx, key); err != nil {
			return err
		}
		if err := c.install(ctx, key); TurnedAway(err) {
			return err
		} else if err != nil {
			if ReasonOf(err) == ReasonRateLimited {
				c.tried = time.Now()
			}
			return c.fails(ctx, err, key, key)
		}
	}
	goesOn()
	longer, cancel := outlasting(ctx)
	defer cancel()
	return c.enter(longer, ctx, key)
}

// outlasting returns a context that goes on when the asker's ends.
func outlasting(asker context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(asker), loginTimeout)
}

// enter registers if need be, and opens a session. Asker is the context of the reading that wants it.
func (c *Client) enter(ctx, asker context.Context, apiKey string) error {
	hidden, err := c.takeUp(ctx)
	if err != nil {
		return err
	}
	if err := c.pause(ctx, apiKey); err != nil {
		return err
	}
	secret := apiKey + c.current().token
	before := c.tried
	err = c.registerAndOpen(ctx, asker, apiKey, hidden)
	if TurnedAway(err) {
		c.tried = before
		err = cmp.Or(c.failed, err) // what bunq has said last still holds
	}
	if c.tried.Equal(before) {
		return err // bunq was not asked for a session
	}
	c.tried = time.Now() // bunq may count from its answer
	if err == nil {
		c.failed, c.refusals = nil, refusal{}
		return nil
	}
	return c.fails(ctx, err, apiKey, secret)
}

// fails notes what became of an attempt, and for how long bunq is not to be asked with the same secrets.
func (c *Client) fails(ctx context.Context, err error, apiKey, secret string) error {
	c.failed = c.explainRefusal(ctx, err, apiKey)
	if refused(c.failed) {
		c.refusals = c.refusals.again(secret, c.failed)
	}
	return c.failed
}

// pause returns an error while bunq is to be left alone: for its 30 s, or as long as it says, and after a refusal for
// longer, unless key or installation have changed or the own device server is ACTIVE again. A time in the file that is yet
// to come is of a clock that was put back.
func (c *Client) pause(ctx context.Context, apiKey string) error {
	known := c.current()
	last, interval := c.tried, loginInterval
	if known.tried.After(last) && !known.tried.After(time.Now()) { // by another process, or before the start
		last = known.tried
	}
	var e *Error
	if errors.As(c.failed, &e) {
		interval = max(interval, min(e.RetryAfter, longestRetryAfter))
	}
	since := time.Since(last)
	switch {
	case since < interval && c.failed == nil:
		return tooSoon(interval - since)
	case since < interval:
		return c.failed
	case !c.refusals.holds(apiKey + known.token):
		return nil
	}
	if inactive(c.failed) {
		if now, err := c.ownStanding(ctx); err == nil && now == keyOrAddressRefused { // it is ACTIVE again
			return nil
		}
		c.tried = time.Now()
	}
	return c.failed
}

// registerAndOpen logs in first where bunq does not show whether it has made the device server: it opens no session
// without one.
func (c *Client) registerAndOpen(ctx, asker context.Context, apiKey string, hidden error) error {
	if c.current().privateKey == nil {
		return fmt.Errorf("%s holds no private key, so no login can be signed: leave the API key out to read with "+
			"the installation alone, or name a whole context file", c.config.ContextFile)
	}
	if !c.current().registered && hidden == nil {
		if err := c.register(ctx, apiKey); err != nil {
			return err
		}
	}
	err := c.openSession(asker, apiKey)
	switch {
	case hidden != nil && err == nil:
		return c.registeredUnseen(ctx)
	case hidden != nil && ReasonOf(err) == ReasonCredentials:
		return cmp.Or(c.stillMaking(), error(&loginError{otherCause, c.registrationUnknown(hidden)}))
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

// openSession writes ahead that it asks for a session, so that bunq's 30 s hold across a restart. It waits for its turn no
// longer than the asker: others may have theirs meanwhile, and a registered installation can read.
func (c *Client) openSession(asker context.Context, apiKey string) error {
	leave, err := c.awaitTurn(asker, CreateSessionServer)
	if err != nil {
		return err
	}
	ctx, cancel := outlasting(asker) // from now on: the wait may have taken as long
	defer cancel()
	known := c.current()
	start := time.Now()
	asking, err := known.with(map[string]any{triedKey: start.UTC()})
	if err != nil {
		leave.giveBack()
		return err
	}
	c.keep(asking)
	c.tried = start
	var answer sessionAnswer
	if err := c.send(ctx, exchange{
		Operation: CreateSessionServer,
		path:      "session-server",
		token:     known.token,
		body:      map[string]string{"secret": apiKey},
		secret:    apiKey,
		signer:    known.privateKey,
		server:    known.serverKey,
		decode:    answer.decode,
	}, leave); err != nil {
		return err
	}
	renewed, err := asking.withSession(apiKey, answer.token, start.Add(answer.user.timeout), answer.user)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.fresh = answer.token
	if known.session.token != "" {
		c.renewals++
	}
	c.mu.Unlock()
	c.keep(renewed) // one that is lost with the process can be had anew
	return nil
}
