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
	DeviceServers map[int64]bunq.DeviceServer // the watched ones that were read
	Unexpected    []bunq.DeviceServer         // neither watched nor the exporter's own
	Counts        map[bunq.Status]int         // of the whole account; nil where the list was not read to its end
	Err           error                       // what ended the reading early; nil if nothing did
}

// read asks bunq for every watched device server: the list, 200 in one request, until all are seen, then what the list
// did not show one by one.
func (a *Account) read(ctx context.Context) Reading {
	r := Reading{Time: time.Now(), DeviceServers: make(map[int64]bunq.DeviceServer, len(a.watched))}
	missing := make(map[int64]bool, len(a.watched))
	for _, id := range a.watched {
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
		for _, d := range page.DeviceServers {
			if seen[d.ID] {
				continue
			}
			seen[d.ID] = true
			counts[d.Status]++
			a.sort(r, d, missing)
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

// sort puts a device server of the list where it belongs.
func (a *Account) sort(r *Reading, d bunq.DeviceServer, missing map[int64]bool) {
	switch {
	case missing[d.ID]:
		r.DeviceServers[d.ID] = d
		delete(missing, d.ID)
	case d.ID != a.client.Login().DeviceServerID:
		r.Unexpected = append(r.Unexpected, d)
	}
}

// readOneByOne stops at the first error that is not bunq's word about that one device server: more requests would meet
// the same.
func (a *Account) readOneByOne(ctx context.Context, r *Reading, missing map[int64]bool) error {
	for _, id := range a.watched {
		if !missing[id] {
			continue
		}
		d, err := a.client.DeviceServer(ctx, id)
		var apiError *bunq.Error
		switch {
		case err == nil:
			r.DeviceServers[id] = d
		case !errors.As(err, &apiError) || apiError.Reason != bunq.ReasonNotFound:
			return err
		}
	}
	return nil
}
