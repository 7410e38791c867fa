package collector

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bunq_exporter/bunq"
)

// Result is what a scrape read of an account.
type Result struct {
	Start    time.Time // zero before the first scrape
	Duration time.Duration

	DeviceServers map[int64]bunq.DeviceServer // that were read, by id
	Watched       []int64                     // the selected ids, and that of the exporter's own device server if known
	Known         []int64                     // read, but neither watched nor unexpected
	Unexpected    []int64                     // read, but neither watched nor known
	Complete      bool                        // the list was read to its end
	OwnOnly       bool                        // it shows none but the exporter's own: bunq may hide others
	Unreadable    int                         // objects of the list that were left out, since they cannot be read
	Answered      bool                        // bunq answered for the device servers, if not for all of them
	Err           error                       // that ended the read early

	failed map[int64]error // of device servers that were read singly
	ended  bool
}

// add adds device servers that bunq shows. A list may show one twice, but a series must not occur twice.
func (r *Result) add(s Selection, shown ...bunq.DeviceServer) {
	r.Answered = true
	for _, d := range shown {
		_, seen := r.DeviceServers[d.ID]
		r.DeviceServers[d.ID] = d
		switch {
		case seen, slices.Contains(r.Watched, d.ID):
		case slices.Contains(s.Known, d.ID):
			r.Known = append(r.Known, d.ID)
		case s.All:
			r.Watched = append(r.Watched, d.ID)
		default:
			r.Unexpected = append(r.Unexpected, d.ID)
		}
	}
}

// unread returns the watched ids that have not been read.
func (r *Result) unread() []int64 {
	return slices.DeleteFunc(slices.Clone(r.Watched), func(id int64) bool {
		_, read := r.DeviceServers[id]
		return read
	})
}

var errNotListed = fmt.Errorf("bunq lists no device server with this id: %w", bunq.ReasonNotFound)

// Missing returns why a device server was not read.
func (r Result) Missing(id int64) error {
	switch listed := r.Complete && !r.OwnOnly; {
	case !listed && r.failed[id] != nil:
		return r.failed[id]
	case r.Err != nil:
		return r.Err
	case r.Unreadable > 0:
		return fmt.Errorf("%d objects of the list cannot be read: %w", r.Unreadable, bunq.ReasonMalformed)
	}
	return errNotListed
}

// NotFound reports that a device server is not on the account.
func (r Result) NotFound(id int64) bool {
	_, read := r.DeviceServers[id]
	return !read && r.Err == nil && errors.Is(r.Missing(id), bunq.ReasonNotFound)
}
