package collector

import (
	"errors"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
)

// events logs what changes from read to read, once each.
type events struct {
	logger log.Logger

	mu       sync.Mutex
	failure  string // summary of the last failure; "" for none
	statuses map[int64]bunq.Status
}

// log logs what a read has changed. While the log blocks, it returns at once: a later read shows the same.
func (e *events) log(r Result) {
	if !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	switch {
	case errors.Is(r.Err, session.ErrNoCredentials): // the session has logged it
	case bunq.NotSent(r.Err) && errors.Is(r.Err, bunq.ReasonRateLimited): // too frequent: it is counted
	case e.failure == bunq.Summary(r.Err):
	case r.Err != nil:
		_ = level.Error(e.logger).Log("msg", "Failed to read device servers", "err", r.Err)
		e.failure = bunq.Summary(r.Err)
	default:
		_ = level.Info(e.logger).Log("msg", "Device servers can be read again")
		e.failure = ""
	}
	for id, d := range r.DeviceServers {
		e.logStatus(id, d)
	}
}

func (e *events) logStatus(id int64, d bunq.DeviceServer) {
	before := e.statuses[id] // "" at first
	if before == d.Status {
		return
	}
	e.statuses[id] = d.Status
	logger := level.Info(e.logger)
	if d.Status != bunq.StatusActive {
		logger = level.Warn(e.logger)
	}
	_ = logger.Log("msg", "Status of device server changed", "id", id, "status", d.Status, "before", before,
		"description", d.Description)
}
