package bunq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// register makes the installation's device server. That it is about to is written ahead: an attempt whose answer is lost
// may have made it, and bunq keeps each one for ever.
func (c *Client) register(ctx context.Context, apiKey string) error {
	if c.config.Description == "" {
		return errors.New("a device server needs a description to be registered with")
	}
	known := c.current()
	if known.requested != "" {
		id, err := c.findOwn(ctx, known)
		if err != nil {
			return err
		}
		if id != 0 {
			return c.registeredAs(id)
		}
	}
	if err := c.markRequested(c.config.Description); err != nil {
		return err
	}
	id, err := c.createDeviceServer(ctx, apiKey)
	switch {
	case err == nil:
		return c.registeredAs(id)
	case nothingMade(err):
		_ = c.markRequested(nil) // left set, it would cost the next attempt one reading
	}
	return err
}

// nothingMade reports whether a failed request has certainly made nothing: bunq has refused it, or it was never sent.
// Gateways answer 408 and 499 for a bunq that may still be at work.
func nothingMade(err error) bool {
	var unsent *net.OpError
	if errors.As(err, &unsent) && (unsent.Op == "dial" || unsent.Op == "proxyconnect") {
		return true
	}
	var e *Error
	return errors.As(err, &e) && e.StatusCode >= 400 && e.StatusCode < 500 &&
		e.Reason != ReasonMaintenance && e.StatusCode != http.StatusRequestTimeout && e.StatusCode != 499
}

// findOwn looks for the device server that an earlier attempt may have made, and returns its id, or 0: one that has the
// description that was asked for, and is no older than the installation.
func (c *Client) findOwn(ctx context.Context, known *apiContext) (int64, error) {
	pages := c.pages(ctx, func(ctx context.Context, x exchange) error {
		x.token, x.server = known.token, known.serverKey
		return c.do(ctx, x)
	})
	for page, err := range pages {
		if ReasonOf(err) == ReasonUnauthorized {
			return 0, fmt.Errorf("it is not known whether bunq has made the device server %q, and bunq does not let this "+
				"installation look: if the bunq app shows it, write its id into %s as %s, else move that file away and restart "+
				"to begin anew: %w", known.requested, c.config.ContextFile, deviceServerKey, err)
		}
		if err != nil {
			return 0, err
		}
		for _, d := range page.DeviceServers {
			switch {
			case d.Created.Before(known.installed): // as is everything that follows
				return 0, nil
			case d.Description == known.requested:
				return d.ID, nil
			}
		}
	}
	return 0, nil
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

// markRequested writes the description of the device server that bunq may have been asked for, or nil for none.
func (c *Client) markRequested(description any) error {
	marked, err := c.current().with(map[string]any{requestedKey: description})
	if err != nil {
		return err
	}
	return c.keep(marked)
}

func (c *Client) registeredAs(id int64) error {
	registered, err := c.current().with(map[string]any{deviceServerKey: id, requestedKey: nil})
	if err != nil {
		return err
	}
	_ = c.keep(registered) // what was written ahead finds it again: Login tells of the error
	return nil
}
