package collector

import (
	"context"
	"errors"
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

// read asks bunq for every watched device server: the list, 200 in one request, until all are seen, then what the list
// did not show one by one.
func (a *Account) read(ctx context.Context) Reading {
	a.mu.Lock()
	watched := a.watched
	a.mu.Unlock()
	r := Reading{Time: time.Now(), Watched: watched, DeviceServers: make(map[int64]bunq.DeviceServer, len(watched))}
	missing := make(map[int64]bool, len(watched))
	for _, id := range watched {
		missing[id] = true
	}
	r.Err = a.readList(ctx, &r, missing)
	if r.Err == nil {
		r.Err = a.readOneByOne(ctx, &r, missing)
	}
	r.Duration = time.Since(r.Time)
	return r
}

func (a *Account) readList(ctx context.Context, r *Reading, missing map[int64]bool) error {
	seen := map[int64]bool{} // a device server that is registered meanwhile shifts the pages: one may come twice
	counts := map[bunq.Status]int{}
	for page, err := range a.client.DeviceServers(ctx) {
		if err != nil {
			return err
		}
		r.Answered = true
		own := a.client.Login().DeviceServerID
		for _, d := range page.DeviceServers {
			if seen[d.ID] {
				continue
			}
			seen[d.ID] = true
			counts[d.Status]++
			switch {
			case missing[d.ID]:
				r.DeviceServers[d.ID] = d
				delete(missing, d.ID)
			case d.ID != own:
				r.Unexpected = append(r.Unexpected, d)
			}
		}
		if page.Last {
			r.Counts = counts
		}
		if len(missing) == 0 {
			break
		}
	}
	return nil
}

// readOneByOne stops at the first error that is not bunq's word about that one device server: more requests would meet
// the same.
func (a *Account) readOneByOne(ctx context.Context, r *Reading, missing map[int64]bool) error {
	for _, id := range r.Watched {
		if !missing[id] {
			continue
		}
		d, err := a.client.DeviceServer(ctx, id)
		switch {
		case err == nil:
			r.DeviceServers[id] = d
		case bunq.ReasonOf(err) != bunq.ReasonNotFound:
			return err
		}
	}
	return nil
}
