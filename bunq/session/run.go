package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

// runner is what the goroutine of a session owns.
type runner struct {
	*Session

	context apicontext.Context
	apiKey  string

	next   State // what is known of the state to publish next: the error of the file, and the counts
	behind bool  // context has what could not be saved yet

	closed       string    // token of the last session that bunq rejected in a read; "": it has rejected none
	unread       bool      // bunq rejected the token of the installation for reads
	missingSince time.Time // when the device server of an unconfirmed registration was first not found
	failures     int       // rejected logins in a row

	logged *State // the last one whose login state was logged
}

// Run keeps the account logged in until ctx ends. It is called once.
func (s *Session) Run(ctx context.Context) {
	r := &runner{Session: s, logged: &State{}}
	for ctx.Err() == nil {
		err := r.login(ctx)
		if state, err := r.diagnose(ctx, err); ctx.Err() == nil {
			r.publish(state, err)
		}
		r.wait(ctx, err)
	}
}

// login does what is missing: it loads the context file, makes an installation, registers a device server and opens a
// session. Each step is saved before the next one.
func (r *runner) login(ctx context.Context) error {
	if err := r.load(); err != nil || r.context.Registered && r.isOpen(renewBefore) {
		return err
	}
	if r.apiKey == "" {
		return r.useInstallation(ctx)
	}
	if r.unread = false; r.context.Registered && !r.isOpen(0) { // so that reads can use the installation meanwhile
		r.publish(r.lastKnown())
	}
	unlock, err := apicontext.Lock(r.config.ContextFile)
	defer unlock()
	if errors.Is(err, apicontext.ErrLocked) {
		return err
	}
	if err != nil && !r.context.Registered { // a registered installation can log in from a folder that is read-only
		r.next.FileErr = err
		return err
	}
	if err := r.load(); err != nil { // another program may have logged in meanwhile
		return err
	}
	for _, step := range []func(context.Context) error{r.install, r.register, r.openSession, r.verifySession} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// isOpen reports whether there is a session that lasts for the given time.
func (r *runner) isOpen(lasts time.Duration) bool {
	session := r.context.Session
	return session.Token != "" && session.Token != r.closed && time.Until(session.Expiry) > lasts
}

// useInstallation is the login without an API key: the token of the installation reads, if bunq allows it.
func (r *runner) useInstallation(ctx context.Context) error {
	if !r.context.Registered {
		return fmt.Errorf("%w, and %s holds no installation: configure an API key", errNoKey, r.config.ContextFile)
	}
	if r.unread {
		if err := r.tryRead(ctx, r.context.Installation.Token); err != nil {
			return err
		}
		r.unread = false
	}
	return errNoKey
}

// tryRead reads the first page of the list.
func (r *runner) tryRead(ctx context.Context, token string) error {
	for _, err := range r.client.DeviceServers(ctx, r.credentials(token)) {
		return err
	}
	return nil
}

func (r *runner) credentials(token string) bunq.Credentials {
	i := r.context.Installation
	return bunq.Credentials{Token: token, PrivateKey: i.PrivateKey, ServerKey: i.ServerKey}
}

// lastKnown returns the login state from before a login that has not ended, or was not sent.
func (r *runner) lastKnown() (LoginState, error) {
	if state := r.State(); state.Login != OK || r.isOpen(0) {
		return state.Login, state.Err
	}
	return Unknown, nil
}

// publish makes the runner's state visible to others, and logs what has changed.
func (r *runner) publish(login LoginState, err error) {
	next := r.next
	next.Login, next.Err, next.DeviceServerID, next.replaced = login, err, r.context.DeviceServerID, make(chan struct{})
	if r.isOpen(0) {
		next.Expiry = r.context.Session.Expiry
		next.credentials = append(next.credentials, r.credentials(r.context.Session.Token))
	}
	if r.context.Registered && !r.unread {
		next.credentials = append(next.credentials, r.credentials(r.context.Installation.Token))
	}
	before := r.state.Swap(&next)
	close(before.replaced)
	r.log(before, &next)
}

// log logs what has changed. A login that has not ended is not an event.
func (r *runner) log(before, now *State) {
	pending, other := now.Login == Unknown && now.Err == nil, bunq.Summary(r.logged.Err) != bunq.Summary(now.Err)
	if !pending && (r.logged.Login != now.Login || now.Login == Unknown && other) {
		r.logged = now
		logger := level.Error(r.logger)
		if now.Err == nil || now.Login == RateLimited && bunq.NotSent(now.Err) {
			logger = level.Info(r.logger)
		}
		if now.Err != nil {
			logger = log.With(logger, "err", now.Err)
		}
		_ = logger.Log("msg", now.Login.Description, "login_state", now.Login.Name)
	}
	switch file := bunq.Summary(now.FileErr); {
	case file == bunq.Summary(before.FileErr), file != "" && file == bunq.Summary(now.Err):
	case file == "":
		_ = level.Info(r.logger).Log("msg", "API context file is up to date again")
	default:
		_ = level.Error(r.logger).Log("msg", "API context file is not up to date", "err", now.FileErr)
	}
}

// diagnose returns the login state after a login. bunq gives the same answer to everything that may be wrong with
// one; the status of the exporter's own device server tells some causes apart.
func (r *runner) diagnose(ctx context.Context, err error) (LoginState, error) {
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	state := classify(err)
	switch {
	case r.isOpen(0):
		return OK, nil
	case state == NoKey && r.context.Registered:
		return NoKey, nil
	case state == RateLimited && bunq.NotSent(err) && r.State().Err != nil:
		return r.lastKnown()
	case state != CredentialsRefused:
		return state, err
	case r.context.Registered && r.ownNotActive(ctx):
		return DeviceNotActive, err
	}
	if fits := r.config.Environment.Accepts(r.apiKey); !fits {
		err = fmt.Errorf("API key looks like one of another environment than %q: %w", r.config.Environment, err)
	}
	return CredentialsRefused, err
}

// ownNotActive reads the list with the token of the installation, and reports whether it shows that the exporter's
// own device server is not ACTIVE. Where its id is unknown, all device servers that may be its own must say so.
func (r *runner) ownNotActive(ctx context.Context) bool {
	id := r.context.DeviceServerID
	for page, err := range r.client.DeviceServers(ctx, r.credentials(r.context.Installation.Token)) {
		if err != nil {
			return !bunq.Rejected(err) && r.State().Login == DeviceNotActive // nothing is known to have changed
		}
		own := slices.DeleteFunc(page.DeviceServers, func(d bunq.DeviceServer) bool { return id != 0 && d.ID != id })
		active := slices.ContainsFunc(own, func(d bunq.DeviceServer) bool { return d.Status == bunq.StatusActive })
		if len(own) > 0 || page.Last {
			return !active
		}
	}
	return false
}

const (
	// renewBefore is how long before its end a session is renewed. The SDKs do so when 30 s or less are left.
	renewBefore = 30 * time.Second
	// loginInterval is bunq's limit: one login in 30 s from one address.
	loginInterval = 30 * time.Second
	// localRetry is the pause after an error of a file or a lock: nothing was sent to bunq.
	localRetry = 2 * time.Second
	// diagnoseTimeout bounds the reads after a rejected login: the rate limit may be paused.
	diagnoseTimeout = 10 * time.Second
	// pollInterval is how often the API key and the context file are looked at between logins.
	pollInterval = 30 * time.Second
)

// backoff lists the pauses after rejected logins in a row; the last one repeats.
var backoff = []time.Duration{
	loginInterval,   // bunq allows no more
	time.Minute,     // somebody may be at work on the API key or its addresses
	2 * time.Minute, // as before
	5 * time.Minute, // nothing changes by itself, and other programs at this address need the rate limit too
}

// pause returns how long to wait after a login.
func (r *runner) pause(err error) time.Duration {
	e, ok := errors.AsType[*bunq.Error](err)
	switch state := classify(err); {
	case err == nil:
		r.failures = 0
		return time.Until(r.context.Session.Expiry) - renewBefore
	case state == NoKey:
		return pollInterval
	case !ok:
		return localRetry
	case e.RetryAfter > 0:
		return e.RetryAfter
	case state == Unreachable, state == RateLimited:
		return loginInterval
	}
	r.failures++
	return backoff[min(r.failures, len(backoff))-1]
}

// wait returns when the next login is due: before the session ends, after a pause, or earlier if there is a reason. A
// session may end before its timer, which stands still while a machine is suspended.
func (r *runner) wait(ctx context.Context, err error) {
	for next := time.Now().Add(r.pause(err)); time.Now().Before(next) && (err != nil || r.isOpen(renewBefore)); {
		select {
		case <-ctx.Done():
			return
		case token := <-r.wake:
			if token == "" || r.reject(token) {
				return
			}
		case <-time.After(min(time.Until(next), pollInterval)):
			if time.Now().Before(next) && r.poll() {
				return
			}
		}
	}
}

// poll looks at the files. It saves what could not be saved before, and reports whether a login is worth a try, since
// the API key, the installation or the session has changed.
func (r *runner) poll() bool {
	key, before := r.apiKey, r.context
	if r.behind {
		r.keep(func(*apicontext.Context) {})
	}
	err := r.load()
	r.publish(r.lastKnown())
	return err == nil && (r.apiKey != key || r.context.Installation.Token != before.Installation.Token ||
		r.context.Session.Token != before.Session.Token)
}

// reject notes that bunq rejected a token in a read, and reports whether a login is due.
func (r *runner) reject(token string) bool {
	switch {
	case token == r.context.Session.Token && token != r.closed:
		r.closed = token
		return true
	case token == r.context.Installation.Token:
		r.unread = true
		r.publish(r.lastKnown())
		return r.apiKey == ""
	}
	return false
}
