// Package collector exposes the device servers of bunq accounts, and the API calls made for them, as metrics.
package collector

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
)

// Account is a bunq account whose device servers are watched. It is safe for concurrent use.
type Account struct {
	name    string
	client  *bunq.Client
	session *session.Session
	calls   *calls
	events  *events

	mu          sync.Mutex
	watched     []int64
	inFlight    *read // nil if there is none
	last        Result
	lastSuccess time.Time
}

// NewAccount returns an account. It is not logged in until [Account.Run].
func NewAccount(name string, watched []int64, client bunq.Config, login session.Config, logger log.Logger) *Account {
	logger = log.With(logger, "account", name)
	a := &Account{
		name: name, watched: watched, calls: newCalls(name),
		events: &events{logger: logger, statuses: map[int64]bunq.Status{}},
	}
	client.Observe = a.calls.observe
	a.client = bunq.NewClient(client)
	a.session = session.New(login, a.client, logger)
	return a
}

// Run keeps the account logged in until ctx ends. It is called once.
func (a *Account) Run(ctx context.Context) { a.session.Run(ctx) }

// Name returns the name of the account, the label "account" of its metrics.
func (a *Account) Name() string { return a.name }

// Reload replaces the ids of the watched device servers, and lets the account log in without further delay.
func (a *Account) Reload(watched []int64) {
	a.mu.Lock()
	a.watched, a.inFlight = watched, nil
	a.mu.Unlock()
	a.session.Retry()
}

// State is what is known of an account without a call of the API.
type State struct {
	Result      Result    // of the last read
	LastSuccess time.Time // when bunq last answered for the device servers; zero before the first time
	Login       session.State
}

// State returns what is known. It does not call the bunq API.
func (a *Account) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return State{a.last, a.lastSuccess, a.session.State()}
}

// Failures returns the last failed call of each reason, newest first.
func (a *Account) Failures() []Failure { return a.calls.lastFailures() }
