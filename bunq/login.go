package bunq

import (
	"context"
	"fmt"
	"time"
)

// sessionLeeway is how long before its end a session is renewed: the SDKs do it when 30 s or less are left.
const sessionLeeway = 30 * time.Second

// Login is what a client knows of its own standing with bunq.
type Login struct {
	DeviceServerID  int64     // of the client's own device server; 0 before it is registered, or if an SDK registered it
	SessionExpiry   time.Time // when the session ends; zero without one
	SessionRenewals int       // sessions that this client opened in place of an earlier one
	Unsaved         error     // why the context file is behind what is in use; nil if it is not
}

// Login returns what is known now. It neither waits nor sends anything.
func (c *Client) Login() Login {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil {
		return Login{}
	}
	return Login{c.context.deviceServerID, c.context.session.expiry, c.renewals, c.unsaved}
}

// current returns the API context, nil before it was read.
func (c *Client) current() *apiContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.context
}

// authenticate returns a context to read with, after whatever is still missing of the handshake. Its session is another
// than the one that bunq has refused; without an API key it has none, and the installation's token is to be used.
func (c *Client) authenticate(ctx context.Context, refused string) (*apiContext, error) {
	select {
	case c.login <- struct{}{}:
		defer func() { <-c.login }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a login under way: %w", ctx.Err())
	}
	known, err := c.load()
	if err != nil || known.usable(sessionLeeway, refused) {
		return known, err
	}
	return c.renew(ctx, known, refused)
}

// renew returns a context with a session other than the refused one, or without any if there is no API key. A session
// that has not ended is good for reading if no other can be had, so no more than half of the time is spent on that.
func (c *Client) renew(ctx context.Context, known *apiContext, refused string) (*apiContext, error) {
	if !known.usable(0, refused) {
		return c.logInAgain(ctx, refused)
	}
	if deadline, ok := ctx.Deadline(); ok {
		half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
		ctx = half
	}
	if renewed, err := c.logInAgain(ctx, refused); err == nil {
		return renewed, nil
	}
	return known, nil
}

// logInAgain looks first at what an SDK, or a person, may have written to the file meanwhile.
func (c *Client) logInAgain(ctx context.Context, refused string) (*apiContext, error) {
	known, err := c.reread()
	if err != nil || known.usable(sessionLeeway, refused) {
		return known, err
	}
	key, err := c.apiKey(known)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return c.withoutKey(known)
	}
	if err := c.handshake(ctx, key, refused); err != nil {
		return nil, err
	}
	return c.current(), nil
}

// withoutKey returns the context without its session: what is left is the installation.
func (c *Client) withoutKey(known *apiContext) (*apiContext, error) {
	if known.token == "" {
		return nil, fmt.Errorf("there is neither an API key nor an installation in %s: provide an API key, or name "+
			"the context file of an installation that exists", c.config.ContextFile)
	}
	bare := *known
	bare.session = session{}
	return &bare, nil
}

func (c *Client) apiKey(known *apiContext) (string, error) {
	if c.config.APIKey != nil {
		if key, err := c.config.APIKey(); err != nil || key != "" {
			return key, err
		}
	}
	return known.apiKey, nil
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
	if c.unsaved != nil {
		c.unsaved = c.context.write(c.config.ContextFile)
	}
	return c.context, nil
}

// reread reads the context file again, unless it is behind what is in use, or gone.
func (c *Client) reread() (*apiContext, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved != nil {
		return c.context, nil
	}
	known, err := readContext(c.config.ContextFile, c.config.Environment)
	if err != nil {
		return nil, err
	}
	if known.document != nil {
		c.context = known
	}
	return c.context, nil
}

// keep takes over a new context and writes it. Where that fails the new context is still the one in use: what bunq has
// made must not be made twice, and what can be read should be. The error is for those who must not go on without the file.
func (c *Client) keep(known *apiContext) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.context = known
	c.unsaved = known.write(c.config.ContextFile)
	return c.unsaved
}
