package collector

import (
	"errors"
	"slices"
	"time"

	"bunq_exporter/bunq"
)

// Reading is what one scrape learned of an account.
type Reading struct {
	Time     time.Time     // when it was begun; zero before the first scrape
	Duration time.Duration // that it took

	// Answered says whether bunq answered for this account's device servers, even if not for all of them.
	Answered      bool
	Watched       []int64                     // the ids that were asked for
	DeviceServers map[int64]bunq.DeviceServer // the watched ones that were read
	Unexpected    []bunq.DeviceServer         // neither watched nor the exporter's own
	Counts        map[bunq.Status]int         // of the whole account; nil where the list was not read to its end
	Err           error                       // what ended the reading early; nil if nothing did
}

// Trouble returns what ended the reading early, unless it is the login's and told there.
func (r Reading) Trouble(login bunq.Login) error {
	if login.Err != nil && errors.Is(r.Err, login.Err) {
		return nil
	}
	return r.Err
}

// place is where a reading stopped for lack of time: the next one goes on there, so that all have their turn. It also
// holds what was learned of bunq on the way.
type place struct {
	older int64 // of the list's next page; 0: the newest
	below int64 // the ids that are next to be read one by one; 0: all

	compares  bool      // bunq takes any number for older_id, and compares
	named     time.Time // until when bunq is asked for no older_id but those that it names itself
	pagesOnly time.Time // until when none are read one by one, since bunq has refused that
}

// believed is how long bunq is not asked again for what it has refused once: the next day it may be another bunq, or that
// one answer was odd.
const believed = time.Hour

func until(t time.Time) bool { return time.Now().Before(t) }

// read asks bunq for every watched device server: the list, 200 in one request, then what it does not show one by one.
func (a *Account) read(f *flight) error {
	a.mu.Lock()
	at := a.place
	a.mu.Unlock()
	w := newWalk(f.reading.Watched, at.older)
	err := a.readAll(f, w, &at)
	at.older = 0
	// An error that bunq may give again sends the next reading to the newest page, or it would come no further.
	if reason := bunq.ReasonOf(err); reason == bunq.ReasonRateLimited || reason == bunq.ReasonTimeout && f.answered() {
		at.older = w.named
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !f.reading.Time.Before(a.last.Time) { // or the next one, which was quicker, knows better
		a.place = at
	}
	return err
}

func (a *Account) readAll(f *flight, w *walk, at *place) error {
	left, err := a.readList(f, w, at)
	if err != nil {
		return err
	}
	err = a.readOneByOne(f, left, at)
	if bunq.ReasonOf(err) != bunq.ReasonUnauthorized || w.older == 0 {
		return err
	}
	at.pagesOnly = time.Now().Add(believed)
	_, err = a.readList(f, w, at)
	return err
}

// readOneByOne stops at the first error that is not bunq's word about that one device server: more requests would meet
// the same.
func (a *Account) readOneByOne(f *flight, ids []int64, at *place) error {
	for _, id := range newestFirst(ids, at.below) {
		switch err := a.readOne(f, id); bunq.ReasonOf(err) {
		case bunq.ReasonNotFound:
		case bunq.ReasonRateLimited:
			at.below = id + 1
			return err
		default:
			if err != nil {
				at.below = id // after the others: it may be at fault
				return err
			}
		}
	}
	at.below = 0
	return nil
}

func (a *Account) readOne(f *flight, id int64) error {
	d, err := a.client.DeviceServer(f, id)
	if err == nil {
		f.add(d)
	}
	return err
}

// newestFirst returns the ids in the order of bunq's list, but those below the one given before the others.
func newestFirst(ids []int64, below int64) []int64 {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	if first := slices.IndexFunc(sorted, func(id int64) bool { return id < below }); first > 0 {
		return slices.Concat(sorted[first:], sorted[:first])
	}
	return sorted
}
