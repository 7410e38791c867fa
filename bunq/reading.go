package bunq

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// read makes an authenticated GET, once more with a new session if bunq refuses the one at hand, and with the
// installation's token where no session can be had.
func (c *Client) read(ctx context.Context, x exchange) error {
	for {
		known, err := c.authenticate(ctx, x.Operation)
		if err != nil {
			return c.readWithoutSession(ctx, x, err)
		}
		token := known.session.token
		if err := c.refusedTo(token, x.path); err != nil {
			return err
		}
		x.token, x.server = token, known.serverKey
		if err = c.do(ctx, x); c.keepsSession(token, x.path, err) {
			return err
		}
	}
}

// keepsSession notes what a reading says of its session, and reports whether that can still be used. What is refused to a
// second session, or to a fresh one, is a reading that bunq does not want: it is left alone for a while, before it costs
// another session.
func (c *Client) keepsSession(token, path string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, again := c.refused[path]
	fresh := token == c.fresh
	switch {
	case err == nil:
		if fresh {
			c.fresh = ""
		}
		delete(c.refused, path)
		return true
	case ReasonOf(err) != ReasonUnauthorized:
		return true
	case !again && !fresh: // the session may have ended
		c.refused[path] = refusal{secret: token, err: err}
	case !again, !fresh, before.secret != token:
		before.secret = token // the pause doubles from session to session
		c.refused[path] = before.again(token, err)
		return true
	}
	c.closed = token
	return false
}

// readWithoutSession is for when none can be had, and why. An installation without a device server belongs to no account,
// so to read with it would show none.
func (c *Client) readWithoutSession(ctx context.Context, x exchange, why error) error {
	known, noKey := c.current(), errors.Is(why, errNoKey)
	switch {
	case noKey && !known.registered:
		err := fmt.Errorf("there is neither an API key nor a registered installation in %s: provide an API key, or name "+
			"the context file of an installation that exists", c.config.ContextFile)
		c.stands(withoutAnything, err)
		return err
	case !noKey && (known == nil || !known.registered || ctx.Err() != nil):
		return why
	}
	err := c.readWithInstallation(ctx, x)
	if noKey {
		c.standsWithoutKey()
	} else if ReasonOf(err) == ReasonUnauthorized {
		return why
	}
	return err
}

// standsWithoutKey notes how the client stands after a reading without a key.
func (c *Client) standsWithoutKey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing = loginError{withoutKey, nil}
	if refused, ok := c.refused[ListDeviceServers.String()]; ok {
		c.standing = loginError{readingRefused, refused.err}
	}
}

// readWithInstallation makes a GET with the installation's token. Where bunq has refused that, it is not tried again for
// a while.
func (c *Client) readWithInstallation(ctx context.Context, x exchange) error {
	known := c.current()
	what := x.String()
	if err := c.refusedTo(known.token, what); err != nil {
		return err
	}
	x.token, x.server = known.token, known.serverKey
	err := c.do(ctx, x)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ReasonOf(err) == ReasonUnauthorized {
		c.refused[what] = c.refused[what].again(known.token, err)
	} else if err == nil {
		delete(c.refused, what)
	}
	return err
}

// refusedTo returns bunq's refusal to let a token read something, nil if it may be tried.
func (c *Client) refusedTo(token, what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused[what].holds(token) {
		return c.refused[what].err
	}
	return nil
}

// installationReads reports whether the installation's token is worth to save time for.
func (c *Client) installationReads(o Operation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, refused := c.refused[o.String()]
	return c.context.registered && !refused
}

// refusal is what bunq has refused, and how long it is not asked again.
type refusal struct {
	secret string // that it has refused
	err    error
	pause  time.Duration
	until  time.Time
}

// The shortest and the longest pause after a refusal. It doubles each time: all programs behind an address share its
// limits, and the others may have more success.
const (
	firstPause = 30 * time.Second
	maxPause   = 5 * time.Minute
)

// again returns the refusal after one more.
func (r refusal) again(secret string, err error) refusal {
	pause := firstPause
	if r.secret == secret {
		pause = min(max(2*r.pause, firstPause), maxPause)
	}
	return refusal{secret, err, pause, time.Now().Add(pause)}
}

func (r refusal) holds(secret string) bool { return r.secret == secret && time.Now().Before(r.until) }
