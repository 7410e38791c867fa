package session

import (
	"cmp"
	"errors"
	"time"

	"bunq_exporter/bunq"
)

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
