package collector

import (
	"errors"
	"maps"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/session"
)

// events logs what changes from read to read, once each.
type events struct {
	logger  log.Logger
	failure string // summary of the last failure; "" for none
	logged  map[int64]sighting
}

// sighting is what was last logged of a device server.
type sighting struct {
	status     bunq.Status // "": not found
	unexpected bool
}

// log logs what a read has changed.
func (e *events) log(r Result) {
	e.logFailure(r.Err)
	for id, d := range r.DeviceServers {
		if slices.Contains(r.Known, id) {
			delete(e.logged, id)
		} else {
			e.logDeviceServer(d, slices.Contains(r.Unexpected, id))
		}
	}
	e.logMissing(r)
}

func (e *events) logFailure(err error) {
	switch {
	case errors.Is(err, session.ErrNoCredentials): // the session has logged it
	case bunq.NotSent(err) && errors.Is(err, bunq.ReasonRateLimited): // too frequent: it is counted
	case e.failure == bunq.Summary(err):
	case err != nil:
		_ = level.Error(e.logger).Log("msg", "Failed to read device servers", "err", err)
		e.failure = bunq.Summary(err)
	default:
		_ = level.Info(e.logger).Log("msg", "Device servers can be read again")
		e.failure = ""
	}
}

func (e *events) logDeviceServer(d bunq.DeviceServer, unexpected bool) {
	before := e.logged[d.ID]
	e.logged[d.ID] = sighting{d.Status, unexpected}
	message := "Found device server"
	switch {
	case before.status == d.Status && before.unexpected == unexpected:
		return
	case unexpected && !before.unexpected:
		message = "Unexpected device server"
	case before.status != "" && before.unexpected == unexpected:
		message = "Status of device server changed"
	}
	logger := level.Info(e.logger)
	if unexpected || d.Status != bunq.StatusActive {
		logger = level.Warn(e.logger)
	}
	_ = logger.Log("msg", message, "id", d.ID, "status", d.Status, "before", before.status, "description", d.Description,
		"ip", d.IP, "created", d.Created)
}

// logMissing logs which device servers are not on the account, or no longer.
func (e *events) logMissing(r Result) {
	ids := slices.Clone(r.Watched)
	if !r.OwnOnly { // then only those that are watched were read one by one
		ids = slices.AppendSeq(ids, maps.Keys(e.logged))
	}
	for _, id := range ids {
		before, logged := e.logged[id]
		if r.NotFound(id) && (!logged || before.status != "") {
			_ = level.Warn(e.logger).Log("msg", "Device server is not on the account", "id", id, "before", before.status)
			e.logged[id] = sighting{}
		}
	}
}
