package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

const (
	// registrationTimeout is how long bunq may still be at work on a registration whose answer was lost: twice the time
	// that a client waits for it.
	registrationTimeout = time.Minute
	// lookInterval is the pause between two looks for the device server meanwhile.
	lookInterval = 5 * time.Second
)

// register makes the installation's device server. That it is about to is written ahead: a request whose answer is
// lost may have made one, and bunq keeps each one for ever.
func (r *runner) register(ctx context.Context) error {
	if err := r.adopt(ctx); err != nil || r.context.Registered {
		return err
	}
	if err := r.save(func(c *apicontext.Context) { c.Requested = r.config.Description }); err != nil {
		return err
	}
	id, err := r.client.CreateDeviceServer(ctx, r.credentials(r.context.Installation.Token), bunq.Registration{
		Description: r.config.Description, APIKey: r.apiKey, PermittedIPs: r.config.PermittedIPs,
	})
	if err != nil {
		if r.missingSince = time.Now(); nothingMade(err) {
			r.keep(func(c *apicontext.Context) { c.Requested = "" })
		}
		return err
	}
	r.next.Registrations++
	r.registered("Registered a device server", id, r.context.Requested)
	return nil
}

// registered uses, saves and logs the id of the device server, 0 if it is unknown.
func (r *runner) registered(event string, id int64, description string) {
	r.keep(func(c *apicontext.Context) { c.Registered, c.DeviceServerID, c.Requested = true, id, "" })
	_ = level.Warn(r.logger).Log("msg", event, "id", id, "description", description)
}

// nothingMade reports whether a failed registration has certainly made nothing: bunq rejected it, or it was not sent.
// Gateways answer 408 and 499 while bunq may still be at work, and one client reports a 400 for one that exists
// already.
func nothingMade(err error) bool {
	e, ok := errors.AsType[*bunq.Error](err)
	return bunq.NotSent(err) || ok && e.StatusCode >= 400 && e.StatusCode < 500 &&
		!slices.Contains([]int{408, 491, 499}, e.StatusCode) &&
		!strings.Contains(strings.ToLower(e.Description), "already exists")
}

// adopt looks for the device server of a registration that was not confirmed, if there is one. It returns without an
// error if it is there, or if it certainly is not.
func (r *runner) adopt(ctx context.Context) error {
	if r.context.Registered || r.context.Requested == "" {
		return nil
	}
	there, id, err := r.find(ctx, r.context.Installation.Token)
	missing := err == nil && !there
	if id == 0 && (err == nil || bunq.Rejected(err)) { // bunq opens no session without a device server
		if err = r.openSession(ctx); err == nil {
			var failed error
			if _, id, failed = r.find(ctx, r.context.Session.Token); failed != nil && !there {
				return failed // the id can be had later, but not if the registration counts as confirmed
			}
		}
	}
	switch {
	case err == nil:
		r.registered("Found the device server of an earlier registration", id, r.context.Requested)
		return nil
	case !bunq.Rejected(err):
		return err
	}
	// The time counts from when this process first missed it: no clock tells when another process sent the request.
	r.missingSince = cmp.Or(r.missingSince, time.Now())
	if time.Since(r.missingSince) < registrationTimeout {
		return &bunq.Error{
			Operation: bunq.CreateDeviceServer, Reason: bunq.ReasonTimeout, RetryAfter: lookInterval,
			Err: fmt.Errorf("bunq may still be making the device server %q", r.context.Requested),
		}
	}
	if !missing {
		return fmt.Errorf("unknown whether bunq made the device server %q: if the bunq app shows it, write its id into %s "+
			"as device_server_id, else move that file away and restart: %w", r.context.Requested, r.config.ContextFile, err)
	}
	return nil
}

// find looks for the device server of this installation: the oldest one with the requested description since the
// installation was made, by bunq's clock. The id is 0 if device servers were made since then, but none so described.
func (r *runner) find(ctx context.Context, token string) (there bool, id int64, err error) {
	for page, err := range r.client.DeviceServers(ctx, r.credentials(token)) {
		if err != nil {
			return false, 0, err
		}
		for _, d := range page.DeviceServers {
			if !d.Created.IsZero() && d.Created.Before(r.context.Installation.Created) { // as are all that follow
				return there, id, nil
			}
			if there = true; d.Description == r.context.Requested {
				id = d.ID
			}
		}
	}
	return there, id, nil
}
