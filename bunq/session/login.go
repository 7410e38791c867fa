package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

// load reads the context file and the API key. The file is not read while it is behind what is in use, and what is in
// use stays if the file is unusable or gone.
func (r *runner) load() error {
	if !r.behind {
		there, err := apicontext.Load(r.config.ContextFile, r.config.Environment)
		if r.next.FileErr = err; err != nil {
			return err
		}
		if there.Exists() || r.context.Installation.Token == "" {
			r.context = *there
		} else {
			r.next.FileErr = fmt.Errorf("%s is missing: a restart would register another device server", r.config.ContextFile)
		}
	}
	key, err := r.config.APIKey()
	r.apiKey = cmp.Or(key, r.context.APIKey)
	return err
}

// save writes a changed context, and uses it if that succeeds.
func (r *runner) save(change func(*apicontext.Context)) error {
	next := r.context
	change(&next)
	if r.next.FileErr = next.Save(r.config.ContextFile); r.next.FileErr == nil {
		r.context, r.behind = next, false
	}
	return r.next.FileErr
}

// keep uses a changed context, and writes it if possible: what bunq has made must not be made twice.
func (r *runner) keep(change func(*apicontext.Context)) {
	if err := r.save(change); err != nil {
		change(&r.context)
		r.behind = !errors.Is(err, apicontext.ErrReplaced) // by a file that is read instead
	}
}

// install makes an installation for a new key pair. The file is written first, so that one that cannot be written is
// detected before anything is sent.
func (r *runner) install(ctx context.Context) error {
	if r.context.Installation.Token != "" {
		return nil
	}
	key := r.config.Key
	if key == nil {
		key, _ = rsa.GenerateKey(rand.Reader, bunq.KeyBits) // it fails for other sizes alone
	}
	if err := r.save(func(c *apicontext.Context) { c.APIKey = r.apiKey }); err != nil {
		return err
	}
	made, err := r.client.CreateInstallation(ctx, &key.PublicKey)
	if err != nil {
		return err
	}
	return r.save(func(c *apicontext.Context) {
		c.Installation = apicontext.Installation{Installation: made, PrivateKey: key}
	})
}

// openSession opens a session in place of one that ends. That it is requested is written ahead, so that bunq's limit
// holds across restarts.
func (r *runner) openSession(ctx context.Context) error {
	if r.isOpen(renewBefore) {
		return nil
	}
	if wait := loginInterval - time.Since(r.context.LoginRequested); wait > 0 && wait <= loginInterval {
		return &bunq.Error{Operation: bunq.CreateSessionServer, Reason: bunq.ReasonRateLimited, RetryAfter: wait}
	}
	before := r.context.LoginRequested
	r.keep(func(c *apicontext.Context) { c.LoginRequested = time.Now() })
	opened, err := r.client.CreateSession(ctx, r.credentials(r.context.Installation.Token), r.apiKey)
	if bunq.NotSent(err) {
		r.keep(func(c *apicontext.Context) { c.LoginRequested = before })
	}
	if err != nil {
		return err
	}
	if r.context.Session.Token != "" {
		r.next.Renewals++
	}
	r.keep(func(c *apicontext.Context) {
		c.APIKey = r.apiKey
		c.Session = apicontext.Session{Token: opened.Token, Expiry: time.Now().Add(opened.Timeout), User: opened.User}
	})
	return nil
}

// verifySession tries a session before others use it, once bunq has rejected an earlier one.
func (r *runner) verifySession(ctx context.Context) error {
	if r.closed == "" {
		return nil
	}
	token := r.context.Session.Token
	if err := r.tryRead(ctx, token); bunq.Rejected(err) {
		r.closed = token
		return fmt.Errorf("%w: bunq opens a session, but rejects it for reads: %w", bunq.ReasonCredentials, err)
	}
	return nil
}
