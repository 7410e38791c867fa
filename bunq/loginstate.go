package bunq

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// LoginState says how a client stands with bunq, told apart as far as bunq's answers allow.
type LoginState string

// The login states, a closed set.
const (
	LoginOK                  LoginState = "ok"                   // there is a session
	LoginCredentialsRefused  LoginState = "credentials_refused"  // the API key or the address
	LoginDeviceNotActive     LoginState = "device_not_active"    // the client's own device server, so no session is opened
	LoginInstallationRefused LoginState = "installation_refused" // bunq does not take the installation's token
	LoginRateLimited         LoginState = "rate_limited"         // too many logins from this address
	LoginUnreachable         LoginState = "unreachable"          // no answer, or one of maintenance
	LoginNoKey               LoginState = "no_key"               // there is no API key, so no session is asked for
	LoginUnknown             LoginState = "unknown"              // none of these
)

// LoginStates returns every login state.
func LoginStates() []LoginState {
	return []LoginState{
		LoginOK, LoginCredentialsRefused, LoginDeviceNotActive, LoginInstallationRefused, LoginRateLimited,
		LoginUnreachable, LoginNoKey, LoginUnknown,
	}
}

// cause is why a client has a session, or has none.
type cause int

const (
	notTried cause = iota
	sessionOpen
	keyOrAddressRefused
	keyAddressOrDeviceRefused
	registrationRefused
	keyOfSandbox
	keyOfProduction
	deviceNotActive
	deviceNotShown
	installationRefused
	readingRefused
	loginLimited
	loginUnanswered
	withoutKey
	withoutAnything
	waiting
	ownTrouble
	otherCause
)

// explanations are the states, and the sentences for whoever runs the program. The README has them too.
var explanations = map[cause]struct {
	state    LoginState
	sentence string
}{
	notTried:    {LoginUnknown, "bunq has not been asked for a session yet"},
	sessionOpen: {LoginOK, "there is a session"},
	keyOrAddressRefused: {LoginCredentialsRefused, "bunq refuses the key or this address; the device server itself is ACTIVE, so see in the bunq app " +
		"whether the key still exists and permits the address that this machine has now"},
	keyAddressOrDeviceRefused: {LoginCredentialsRefused, "bunq refuses the key, this address or the device server, and does not say which: see in the bunq app " +
		"whether the device server is ACTIVE, and whether the key still exists and permits the address that this machine has now"},
	registrationRefused: {LoginCredentialsRefused, "bunq refuses the key or this address, so no device server is registered: see in the bunq app " +
		"whether the key still exists and permits the address that this machine has now"},
	keyOfSandbox: {LoginCredentialsRefused, "bunq refuses the key: it is one of the sandbox, but the environment is production; correct the one or the other"},
	keyOfProduction: {LoginCredentialsRefused, "bunq refuses the key: it looks like one of production, since those of the sandbox begin with sandbox_, " +
		"but the environment is sandbox; correct the one or the other"},
	deviceNotActive: {LoginDeviceNotActive, "the exporter's own device server is not ACTIVE, so bunq opens no session: confirm or unblock it in the bunq app"},
	deviceNotShown: {LoginDeviceNotActive, "bunq shows no device server of this installation, so it opens no session: if the bunq app shows none either, " +
		"move the context file away and restart to register a new one"},
	installationRefused: {LoginInstallationRefused, "bunq does not take the installation's token: if that stays, put a backup of the context file in its place, " +
		"or move it away and restart to register a new device server; the exporter does neither by itself"},
	readingRefused: {LoginInstallationRefused, "bunq does not take the installation's token for reading: either it wants a session for that, so provide an API key, " +
		"or it has ended the installation"},
	loginLimited: {LoginRateLimited, "bunq's limit for this address is reached, all programs there together (one login in 30 seconds, three readings in three): " +
		"the exporter waits, and tries again"},
	loginUnanswered: {LoginUnreachable, "bunq does not answer the login, or is in maintenance: the exporter tries again"},
	withoutKey:      {LoginNoKey, "there is no API key, so no session is opened: device servers are read with the installation's token"},
	withoutAnything: {LoginNoKey, "there is neither an API key nor a registered installation: provide an API key, or name the context file of an installation that exists"},
	waiting:         {LoginUnknown, "the exporter waits before it logs in: err says what for"},
	ownTrouble:      {LoginUnknown, "the exporter cannot use its API context or its API key: err says what to do"},
	otherCause:      {LoginUnknown, "there is no session, and none of bunq's usual causes explains it: err says what happened"},
}

// loginError is why there is no session.
type loginError struct {
	cause cause
	err   error
}

func (e *loginError) Error() string { return e.err.Error() }

func (e *loginError) Unwrap() error { return e.err }

// explain returns the error with its cause, as far as the error alone tells.
func explain(err error) *loginError {
	var known *loginError
	if errors.As(err, &known) {
		return known
	}
	var e *Error
	switch {
	case errors.Is(err, errUnanswered):
		return &loginError{loginUnanswered, err}
	case !errors.As(err, &e):
		return &loginError{ownTrouble, err}
	}
	switch e.Reason {
	case ReasonUnauthorized:
		if e.Operation != CreateInstallation { // which sends no token
			return &loginError{installationRefused, err}
		}
	case ReasonCredentials:
		return &loginError{keyAddressOrDeviceRefused, err}
	case ReasonRateLimited:
		return &loginError{loginLimited, err}
	case ReasonTimeout, ReasonNetwork, ReasonMaintenance, ReasonServer:
		return &loginError{loginUnanswered, err}
	}
	return &loginError{otherCause, err}
}

// explainRefusal tells apart what hides behind bunq's one answer to everything that may be wrong with a login.
func (c *Client) explainRefusal(ctx context.Context, err error, apiKey string) *loginError {
	if ReasonOf(err) != ReasonCredentials {
		return explain(err)
	}
	cause := registrationRefused
	if c.current().registered {
		var missed error
		if cause, missed = c.ownStanding(ctx); missed != nil && inactive(c.failed) {
			cause = explain(c.failed).cause // nothing says that it has changed
		}
	}
	if sandboxKey := strings.HasPrefix(apiKey, "sandbox_"); explanations[cause].state != LoginDeviceNotActive {
		switch {
		case sandboxKey && c.config.Environment == Production:
			cause = keyOfSandbox
		case !sandboxKey && c.config.Environment == Sandbox:
			cause = keyOfProduction
		}
	}
	return &loginError{cause, err}
}

// ownStanding looks at the client's own device server with the installation's token, and returns what that makes of a
// refused login. The error is that it could not look this time.
func (c *Client) ownStanding(ctx context.Context) (cause, error) {
	seen, all, err := c.lookAtOwn(ctx)
	active := 0
	for _, d := range seen {
		if d.Status == StatusActive {
			active++
		}
	}
	switch {
	case err != nil && ReasonOf(err) != ReasonUnauthorized:
		return keyAddressOrDeviceRefused, err
	case err != nil || !all:
		return keyAddressOrDeviceRefused, nil
	case len(seen) == 0:
		return deviceNotShown, nil
	case active == 0:
		return deviceNotActive, nil
	case active == len(seen):
		return keyOrAddressRefused, nil
	}
	return keyAddressOrDeviceRefused, nil // one of these is our own, and nothing says which
}

// lookAtOwn returns the device servers of which one is the client's own, and whether these are all that may be. bunq may
// show them in the list alone.
func (c *Client) lookAtOwn(ctx context.Context) (seen []DeviceServer, all bool, err error) {
	own := c.current().deviceServerID
	if own != 0 {
		d, err := readOne(ctx, own, c.readWithInstallation)
		switch ReasonOf(err) {
		case ReasonUnauthorized: // perhaps in the list
		case ReasonNotFound:
			return nil, true, nil
		default:
			return []DeviceServer{d}, true, err
		}
	}
	page, err := readPage(ctx, 0, c.readWithInstallation)
	seen = page.DeviceServers
	if i := slices.IndexFunc(seen, func(d DeviceServer) bool { return d.ID == own }); i >= 0 {
		return seen[i : i+1], true, err
	}
	if own != 0 {
		seen = nil
	}
	return seen, page.Older == 0, err
}

// inactive reports whether a login failed for the state of the client's own device server.
func inactive(err error) bool {
	var known *loginError
	return errors.As(err, &known) && explanations[known.cause].state == LoginDeviceNotActive
}

// refused reports whether bunq has given an answer that will hardly be another one soon, or may have made something.
func refused(err error) bool {
	var e *Error
	switch {
	case !errors.As(err, &e), e.Reason == ReasonRateLimited:
		return false
	case e.Operation == CreateDeviceServer && !nothingMade(err):
		return true
	}
	return e.StatusCode != 0 && e.StatusCode < 500 && e.Reason != ReasonMaintenance
}
