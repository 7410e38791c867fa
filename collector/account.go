package collector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"bunq_exporter/bunq"
)

// Account is one account at bunq, and the device servers that are watched there. It is safe for concurrent use.
type Account struct {
	name   string
	client *bunq.Client
	calls  *callMetrics
	logger log.Logger

	mu          sync.Mutex
	watched     []int64
	flight      *flight // under way; nil if none is
	place       place
	last        Reading
	lastSuccess time.Time // zero before the first
	login       string    // what was told of the login last
	trouble     string    // that the last reading met; "" for none
	crowded     time.Time // when bunq's limit last left no time for some device servers
	unsaved     string    // why the API context could not be kept; "" if it could
	statuses    map[int64]bunq.Status
}

// NewAccount returns an account that has read nothing yet. The config's Observe is the account's own.
func NewAccount(name string, watched []int64, config bunq.Config, logger log.Logger) (*Account, error) {
	calls := newCallMetrics(name)
	config.Observe = calls.observe
	client, err := bunq.New(config)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", name, err)
	}
	return &Account{
		name:     name,
		watched:  watched,
		client:   client,
		calls:    calls,
		logger:   log.With(logger, "account", name),
		statuses: map[int64]bunq.Status{},
	}, nil
}

// Name returns the account's name, the label "account" of its metrics.
func (a *Account) Name() string { return a.name }

// Watch replaces the ids of the device servers that are watched. A scrape under way still reads the ones before.
func (a *Account) Watch(ids []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched = ids
	a.flight = nil // who comes now is to see these
}

// State is what is known of an account without asking bunq.
type State struct {
	Reading     Reading   // the last one
	LastSuccess time.Time // when bunq last answered for the device servers; zero before the first time
	Login       bunq.Login
	Failures    []Failure // the last one of each reason, newest first
}

// State returns what is known. It asks bunq nothing.
func (a *Account) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return State{a.last, a.lastSuccess, a.client.Login(), a.calls.failures.newestFirst()}
}

// collect reads bunq and sends everything that is known then.
func (a *Account) collect(ctx context.Context, metrics chan<- prometheus.Metric) {
	reading := a.fetch(ctx)
	sendReading(metrics, a.name, reading, a.answered(reading))
	sendLogin(metrics, a.name, a.client.Login())
	a.calls.Collect(metrics)
}

// answered returns when bunq last answered, this reading included.
func (a *Account) answered(r Reading) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ended := r.Time.Add(r.Duration); r.Answered && ended.After(a.lastSuccess) {
		a.lastSuccess = ended
	}
	return a.lastSuccess
}

// keep remembers a reading, and logs what has changed with it. One that was ended may end after the next: it is no news.
func (a *Account) keep(r Reading) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Time.Before(a.last.Time) {
		return
	}
	a.last = r
	login := a.client.Login()
	a.logLogin(login)
	if trouble := r.Trouble(login); bunq.TurnedAway(trouble) {
		a.logCrowded(r)
	} else if trouble != nil || r.Err == nil {
		a.logChange(&a.trouble, trouble, "Cannot read the device servers", "Device servers are read again")
	}
	a.logChange(&a.unsaved, login.Unsaved, "Reading goes on, but the next start will have to log in anew", "The API context is kept again")
	for id, d := range r.DeviceServers {
		a.logStatus(id, d)
	}
}

// logLogin tells of a login state once, when it is new.
func (a *Account) logLogin(login bunq.Login) {
	now := login.Explanation
	if login.State == bunq.LoginUnknown {
		now += lasting(login.Err)
	}
	if now == a.login {
		return
	}
	a.login = now
	logger := level.Error(a.logger)
	if login.State == bunq.LoginOK || login.State == bunq.LoginNoKey && login.Err == nil || bunq.TurnedAway(login.Err) {
		logger = level.Info(a.logger)
	}
	what := []any{"msg", login.Explanation, "login_state", login.State}
	if login.Err != nil {
		what = append(what, "err", login.Err)
	}
	_ = logger.Log(what...)
}

// crowdedFor is how long bunq's limit is not told of again: where it is reached at all, that comes and goes with each scrape.
const crowdedFor = time.Hour

// logCrowded tells that bunq's limit leaves no time for some device servers.
func (a *Account) logCrowded(r Reading) {
	if r.Time.Sub(a.crowded) > crowdedFor {
		_ = level.Warn(a.logger).Log("msg", "Not all device servers can be read in time", "err", r.Err)
	}
	a.crowded = r.Time
}

// logChange tells of an error once, and once when it is over. Before is what was told last.
func (a *Account) logChange(before *string, err error, begins, ends string) {
	now := lasting(err)
	if now == *before {
		return
	}
	*before = now
	if err != nil {
		_ = level.Error(a.logger).Log("msg", begins, "err", err)
		return
	}
	_ = level.Info(a.logger).Log("msg", ends)
}

// lasting is what an error says without what differs from call to call.
func lasting(err error) string {
	var apiError *bunq.Error
	switch {
	case errors.As(err, &apiError):
		return fmt.Sprint(apiError.Operation, apiError.Reason, apiError.StatusCode, apiError.Description)
	case err != nil:
		return err.Error()
	}
	return ""
}

// logStatus tells of a status once, when it is new.
func (a *Account) logStatus(id int64, d bunq.DeviceServer) {
	before, known := a.statuses[id]
	if before == d.Status {
		return
	}
	a.statuses[id] = d.Status
	logger := level.Info(a.logger)
	if d.Status != bunq.StatusActive {
		logger = level.Warn(a.logger)
	}
	if known {
		logger = log.With(logger, "before", before)
	}
	_ = logger.Log("msg", "Status of a device server", "id", id, "status", d.Status, "description", d.Description)
}
