package collector

import (
	"maps"
	"slices"
	"sync"
	"time"

	"bunq_exporter/bunq"
)

// Failure is the last failed API call of one reason.
type Failure struct {
	Time  time.Time
	Err   *bunq.Error
	Count int // of the reason, this one included
}

// failures are the last ones of each reason. They are safe for concurrent use.
type failures struct {
	mu   sync.Mutex
	last map[bunq.Reason]Failure
}

func (f *failures) note(err *bunq.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last[err.Reason] = Failure{time.Now(), err, f.last[err.Reason].Count + 1}
}

func (f *failures) newestFirst() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.last), func(a, b Failure) int { return b.Time.Compare(a.Time) })
}
