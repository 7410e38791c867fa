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
		x.token, x.server = known.session.token, known.serverKey
		if err = c.do(ctx, x); ReasonOf(err) != ReasonUnauthorized {
			return err
		}
		c.closes(known.session.token, err)
	}
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
	switch closed := c.closedError(); {
	case noKey:
		c.standsWithoutKey()
	case ReasonOf(err) != ReasonUnauthorized:
	case errors.Is(why, errTooSoon) && closed != nil:
		return closed // what bunq says of the session that it has opened is the news
	default:
		return why
	}
	return err
}

// standsWithoutKey notes how the client stands after a reading without a key.
func (c *Client) standsWithoutKey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing = loginError{withoutKey, nil}
	if refused, ok := c.deaf[ListDeviceServers]; ok {
		c.standing = loginError{readingRefused, refused.err}
	}
}

// closes notes that bunq does not take a session any more.
func (c *Client) closes(token string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.closedErr = token, err
}

// closedError returns what bunq said of the last session, nil if it still takes it.
func (c *Client) closedError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context == nil || c.context.session.token != c.closed {
		return nil
	}
	return c.closedErr
}

// readWithInstallation makes a GET with the installation's token. Where bunq has refused that, it is not tried again for
// a while.
func (c *Client) readWithInstallation(ctx context.Context, x exchange) error {
	known := c.current()
	if err := c.refusedTo(known.token, x.Operation); err != nil {
		return err
	}
	x.token, x.server = known.token, known.serverKey
	err := c.do(ctx, x)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ReasonOf(err) == ReasonUnauthorized {
		c.deaf[x.Operation] = c.deaf[x.Operation].again(known.token, err)
	} else if err == nil {
		delete(c.deaf, x.Operation)
	}
	return err
}

// refusedTo returns bunq's refusal to let an installation's token read, nil if it may be tried.
func (c *Client) refusedTo(token string, o Operation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf[o].holds(token) {
		return c.deaf[o].err
	}
	return nil
}

// installationReads reports whether the installation's token is worth a try.
func (c *Client) installationReads(o Operation) bool {
	known := c.current()
	return known.registered && c.refusedTo(known.token, o) == nil
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
		pause = min(2*r.pause, maxPause)
	}
	return refusal{secret, err, pause, time.Now().Add(pause)}
}

func (r refusal) holds(secret string) bool { return r.secret == secret && time.Now().Before(r.until) }
