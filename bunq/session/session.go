// Package session keeps one account logged in at bunq.
//
// One goroutine, [Session.Run], owns the registration, the session, the context file and the login state. Everyone
// else sees one immutable [State], and asks for credentials as from an oauth2.TokenSource. No other goroutine touches
// a file, so that none waits for a disk that hangs.
package session

import (
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"bunq_exporter/bunq"
)

// ErrNoCredentials reports that there is nothing to read with. [State] says why.
var ErrNoCredentials = errors.New("no credentials to read with")

// Config configures a [Session].
type Config struct {
	Environment  bunq.Environment
	APIKey       func() (string, error) // called for each login; "": the key of the context file is used
	ContextFile  string                 // made if it does not exist
	Description  string                 // of the device server to register if there is no context yet
	PermittedIPs []string               // of that device server; none: the caller's address
	Key          *rsa.PrivateKey        // of a new installation; nil: a random one
}

// Session keeps one account logged in. It is safe for concurrent use.
type Session struct {
	config Config
	client *bunq.Client
	logger log.Logger

	state atomic.Pointer[State]
	wake  chan string // a token that bunq rejected in a read, or "" to end the wait for the next login
}

// New returns a session that does nothing until [Session.Run].
func New(config Config, client *bunq.Client, logger log.Logger) *Session {
	s := &Session{config: config, client: client, logger: logger, wake: make(chan string, 1)}
	s.state.Store(&State{Login: Unknown, replaced: make(chan struct{})})
	return s
}

// State returns the current state. It does not wait.
func (s *Session) State() State { return *s.state.Load() }

// Retry ends the wait for the next login, as after a reload of the configuration.
func (s *Session) Retry() { s.Reject("") }

// Reject reports that bunq rejected a token in a read.
func (s *Session) Reject(token string) {
	select {
	case s.wake <- token:
	default: // another one is being handled
	}
}

// Credentials returns what to read with: the session, or the installation if no session can be opened, but not those
// with a rejected token, if that is not "". It waits for credentials until ctx ends.
func (s *Session) Credentials(ctx context.Context, rejected string) (none bunq.Credentials, err error) {
	for {
		state := s.state.Load()
		for _, credentials := range state.credentials {
			if credentials.Token != rejected {
				return credentials, nil
			}
		}
		if state.credentials == nil && state.Err != nil {
			return none, fmt.Errorf("%w: %w", ErrNoCredentials, state.Err)
		}
		select {
		case <-state.replaced:
		case <-ctx.Done():
			return none, fmt.Errorf("%w: waiting for a login: %w", ErrNoCredentials, ctx.Err())
		}
	}
}

// LoginState is the state of an account's login. Its description is one sentence for the log and the status page.
type LoginState struct{ Name, Description string }

// The login states, a closed set. docs/troubleshooting.md explains what to do about each.
var (
	OK                  = LoginState{"ok", "A session is open"}
	CredentialsRefused  = LoginState{"credentials_refused", "bunq rejects the API key or the address of this machine"}
	DeviceNotActive     = LoginState{"device_not_active", "The exporter's own device server is not ACTIVE"}
	InstallationRefused = LoginState{"installation_refused", "bunq rejects the token of the installation"}
	RateLimited         = LoginState{"rate_limited", "Waiting for bunq's rate limit"}
	Unreachable         = LoginState{"unreachable", "bunq does not answer or is in maintenance"}
	NoKey               = LoginState{"no_key", "No API key is configured"}
	Unknown             = LoginState{"unknown", "No session is open"}

	LoginStates = []LoginState{
		OK, CredentialsRefused, DeviceNotActive, InstallationRefused, RateLimited, Unreachable, NoKey, Unknown,
	}
)

// State is what others see of a session. It is immutable.
type State struct {
	Login          LoginState
	Err            error     // that led to the login state; nil where nothing failed
	DeviceServerID int64     // of the exporter's own device server; 0 if unknown
	Expiry         time.Time // of the session; zero without one
	Renewals       int       // sessions that were opened in place of an earlier one
	Registrations  int       // device servers that this process registered
	FileErr        error     // why the context file is missing, unusable or behind what is in use; nil if it is well

	credentials []bunq.Credentials // for reads, the best first
	replaced    chan struct{}      // closed when another state takes its place
}

// errNoKey need not be an error: an installation may read without one.
var errNoKey = errors.New("no API key is configured")

// states maps the reasons of failed calls to login states.
var states = map[bunq.Reason]LoginState{
	bunq.ReasonCredentials:  CredentialsRefused,
	bunq.ReasonUnauthorized: InstallationRefused,
	bunq.ReasonRateLimited:  RateLimited,
	bunq.ReasonTimeout:      Unreachable,
	bunq.ReasonNetwork:      Unreachable,
	bunq.ReasonMaintenance:  Unreachable,
	bunq.ReasonServer:       Unreachable,
}

// classify returns the login state that the outcome of a login stands for, as far as the error alone tells.
func classify(err error) LoginState {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, errNoKey):
		return NoKey
	}
	return cmp.Or(states[bunq.ReasonOf(err)], Unknown)
}
