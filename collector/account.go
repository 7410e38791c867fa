// Package collector exposes the device servers of bunq accounts, and the API calls made for them, as metrics.
package collector

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/go-kit/log"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
)

// Selection says which device servers of an account are watched.
type Selection struct {
	IDs   []int64 // watched, beside the exporter's own device server
	All   bool    // every one on the account is watched
	Known []int64 // neither watched nor reported as unexpected
}

// Account is a bunq account whose device servers are watched. It is safe for concurrent use.
type Account struct {
	name        string
	environment bunq.Environment
	client      *bunq.Client
	session     *session.Session
	calls       *calls

	mu          sync.Mutex
	events      *events
	selection   Selection
	inFlight    *read // nil if there is none
	last        Result
	lastSuccess time.Time
	lastReads   map[int64]LastRead // of the watched device servers, by id
}

// LastRead is a device server as it was last read.
type LastRead struct {
	bunq.DeviceServer
	Time time.Time
}

// NewAccount returns an account. It is not logged in until [Account.Run].
func NewAccount(name string, s Selection, client bunq.Config, login session.Config, logger log.Logger) *Account {
	logger = log.With(logger, "account", name)
	a := &Account{
		name: name, environment: login.Environment, selection: s, calls: newCalls(name),
		events: &events{logger: logger, logged: map[int64]sighting{}}, lastReads: map[int64]LastRead{},
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

// Environment returns the environment of the account.
func (a *Account) Environment() bunq.Environment { return a.environment }

// Reload replaces the selection of device servers, and lets the account log in without further delay.
func (a *Account) Reload(s Selection) {
	a.mu.Lock()
	if !reflect.DeepEqual(a.selection, s) { // or many reloads would start as many reads
		a.selection, a.inFlight = s, nil
	}
	for _, id := range s.Known {
		delete(a.lastReads, id)
	}
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

// LastReads returns the watched device servers as they were last read, by id.
func (a *Account) LastReads() map[int64]LastRead {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.lastReads)
}
