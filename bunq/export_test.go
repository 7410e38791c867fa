package bunq

import (
	"context"
	"crypto/rsa"
)

// Explanation is what a login state may be told with.
type Explanation struct {
	State    LoginState
	Sentence string
}

// Explanations returns all of them.
func Explanations() (all []Explanation) {
	for _, e := range explanations {
		all = append(all, Explanation{e.state, e.sentence})
	}
	return all
}

// CheckAccess is for users that the tests do not run as.
var CheckAccess = checkAccess

// Waiting returns how many turns wait, and how many timers run for them.
func (l *Limiter) Waiting() (turns, timers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.windows {
		turns += len(w.queue)
		if w.timer != nil && w.timer.Stop() {
			timers++
			w.timer.Reset(0)
		}
	}
	return turns, timers
}

// Line is the queue of a limiter's readings.
type Line struct {
	limiter *Limiter
	ctx     context.Context //nolint:containedctx // of all that stand in it
	served  turns           // of the one client that has more than one reading
}

// NewLine returns one whose turns are all taken and where so many readings wait.
func NewLine(ctx context.Context, waiting int) (line *Line, leave func()) {
	line = &Line{NewLimiter(), ctx, turns{}}
	most := rateOf(ListDeviceServers).most
	for range most {
		leave = line.join(line.served)
	}
	for range waiting {
		line.join(line.served)
	}
	return line, leave
}

// Join lets a client stand in line that was not served before, and returns what waits for its turn and then gives it up.
func (l *Line) Join() (leave func()) { return l.join(turns{}) }

func (l *Line) join(served turns) (leave func()) {
	t := &turn{ctx: l.ctx, served: served, decided: make(chan struct{})}
	l.limiter.enqueue("api.bunq.com", rateOf(ListDeviceServers), t)
	return func() {
		<-t.decided
		t.permit.giveBack()
	}
}

// ServerKey is bunq's key as the context file has it.
func ServerKey(text string) *rsa.PublicKey {
	key, err := decodePublicKey(text)
	if err != nil {
		panic(err)
	}
	return key
}

// Verify is for the benchmark.
var Verify = verify

// DecodePage is what becomes of the body of a list.
func DecodePage(body []byte) ([]DeviceServer, error) {
	page, err := decodePage(body, 0)
	return page.DeviceServers, err
}
