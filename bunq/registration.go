package bunq

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// registrationPatience is how long bunq may still be at work on a registration that nobody waits for any more: twice as
// long as its client would have waited.
const registrationPatience = 2 * loginTimeout

// takeUp looks for the device server that an earlier attempt may have made. Hidden is bunq's refusal to let the
// installation look for it.
func (c *Client) takeUp(ctx context.Context) (hidden, err error) {
	known := c.current()
	if known.registered || known.requested == "" {
		return nil, nil
	}
	there, id, err := findOwn(ctx, known, c.readWithInstallation)
	switch {
	case ReasonOf(err) == ReasonUnauthorized:
		return err, nil
	case err != nil:
		return nil, err
	case there:
		return nil, c.registeredAs(id)
	}
	return nil, c.stillMaking()
}

// stillMaking returns an error while bunq may be at work on the registration that it was asked for last: for a while
// from when this process first missed it, since no clock tells when another process sent it.
func (c *Client) stillMaking() error {
	if c.missed.IsZero() {
		c.missed = time.Now()
	}
	again := c.missed.Add(registrationPatience)
	if !time.Now().Before(again) {
		return nil
	}
	return &loginError{loginUnanswered, fmt.Errorf("bunq may still be making the device server %q: it is looked for on each scrape, "+
		"and asked for anew from %s on", c.current().requested, again.UTC().Format(time.DateTime+" MST"))}
}

// register makes the installation's device server. That it is about to is written ahead: an attempt whose answer is lost
// may have made it, and bunq keeps each one for ever.
func (c *Client) register(ctx context.Context, apiKey string) error {
	if c.config.Description == "" {
		return errors.New("a device server needs a description to be registered with")
	}
	if err := c.markRequested(c.config.Description); err != nil {
		return err
	}
	c.tried = time.Now()
	id, err := c.createDeviceServer(ctx, apiKey)
	switch {
	case err == nil:
		return c.registeredAs(id)
	case nothingMade(err):
		_ = c.markRequested(nil) // left set, it would delay the next attempt
	}
	c.missed = time.Now()
	return err
}

// nothingMade reports whether a failed request has certainly made nothing: bunq has refused it, or it was never sent.
// Gateways answer 408 and 499 for a bunq that may still be at work.
func nothingMade(err error) bool {
	var e *Error
	return unsent(err) || TurnedAway(err) || errors.As(err, &e) && e.StatusCode >= 400 && e.StatusCode < 500 &&
		e.Reason != ReasonMaintenance && e.StatusCode != http.StatusRequestTimeout && e.StatusCode != 499
}

// findOwn looks for the device server that an earlier attempt may have made. Without one an installation belongs to no
// account, so if any is shown ours is there: the oldest since the installation that has the description asked for. The id
// is 0 if none has.
func findOwn(ctx context.Context, known *apiContext, read func(context.Context, exchange) error) (there bool, id int64, err error) {
	for older := int64(0); ; {
		page, err := readPage(ctx, older, read)
		if err != nil {
			return false, 0, err
		}
		for _, d := range page.DeviceServers {
			there = true
			switch {
			case d.Created.Before(known.installed): // as is everything that follows
				return there, id, nil
			case d.Description == known.requested:
				id = d.ID
			}
		}
		if older = page.Older; older == 0 {
			return there, id, nil
		}
	}
}

// registeredUnseen is for a device server that bunq did not show, and has opened a session for: it is there. Its id is
// unknown if bunq does not show it now either.
func (c *Client) registeredUnseen(ctx context.Context) error {
	known := c.current()
	_, id, _ := findOwn(ctx, known, func(ctx context.Context, x exchange) error {
		x.token, x.server = known.session.token, known.serverKey
		return c.do(ctx, x)
	})
	return c.registeredAs(id)
}

func (c *Client) registrationUnknown(hidden error) error {
	return fmt.Errorf("it is not known whether bunq has made the device server %q, and bunq does neither let this "+
		"installation look nor log in: if the bunq app shows it, make it ACTIVE there, or write its id into %s as %s; else move "+
		"that file away and restart to begin anew: %w", c.current().requested, c.config.ContextFile, deviceServerKey, hidden)
}

func (c *Client) createDeviceServer(ctx context.Context, apiKey string) (id int64, err error) {
	known := c.current()
	err = c.do(ctx, exchange{
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
	})
	return id, err
}

// markRequested writes the description of what bunq may have been asked for, or nil for nothing.
func (c *Client) markRequested(requested any) error {
	marked, err := c.current().with(map[string]any{requestedKey: requested})
	if err != nil {
		return err
	}
	return c.commit(marked)
}

// registeredAs takes over the id of the installation's device server, 0 if only that there is one is known. What was
// written ahead finds it again if it cannot be kept.
func (c *Client) registeredAs(id int64) error {
	values := map[string]any{deviceServerKey: id, requestedKey: nil}
	if id == 0 {
		values[deviceServerKey] = nil
	}
	registered, err := c.current().with(values)
	if err == nil {
		c.keep(registered)
	}
	return err
}
