package bunq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Status is the status of a device server. bunq documents four and says of none what it means; a value outside them is
// kept as it came.
type Status string

// The statuses that bunq documents.
const (
	StatusActive            Status = "ACTIVE"
	StatusBlocked           Status = "BLOCKED"
	StatusNeedsConfirmation Status = "NEEDS_CONFIRMATION"
	StatusObsolete          Status = "OBSOLETE"
)

// Statuses returns the documented statuses.
func Statuses() []Status {
	return []Status{StatusActive, StatusBlocked, StatusNeedsConfirmation, StatusObsolete}
}

// DeviceServer is bunq's object of that name.
type DeviceServer struct {
	ID          int64
	Created     time.Time // UTC, to the microsecond; zero if bunq does not say
	Updated     time.Time // likewise
	Description string
	IP          string // the address that it was registered from
	Status      Status
}

// timeLayout is bunq's format of times, which are UTC.
const timeLayout = "2006-01-02 15:04:05.999999"

// deviceServerPage is the body of both readings.
type deviceServerPage struct {
	Response []struct {
		DeviceServer *struct { // decoded at once: an UnmarshalJSON of its own would have each scanned three times
			ID          int64   `json:"id"`
			Created     *string `json:"created"`
			Updated     *string `json:"updated"`
			Description string  `json:"description"`
			IP          string  `json:"ip"`
			Status      Status  `json:"status"`
		}
	}
	Pagination struct {
		OlderURL *string `json:"older_url"`
	}
}

// decode returns the device servers of a body.
func (p *deviceServerPage) decode(body []byte) ([]DeviceServer, error) {
	err := json.Unmarshal(body, p)
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped):
		return nil, fmt.Errorf("the answer's %s is a JSON %s, which is not what bunq documents", cmp.Or(mistyped.Field, "body"), mistyped.Value)
	case err != nil:
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	case p.Response == nil:
		return nil, errors.New("the answer has no Response")
	}
	read := make([]DeviceServer, len(p.Response))
	for i, object := range p.Response {
		raw := object.DeviceServer
		switch {
		case raw == nil:
			return nil, errors.New("the answer has an object that is not a DeviceServer")
		case raw.ID < 1 || raw.Status == "":
			return nil, errors.New("the id or the status of a device server is missing")
		}
		created, err := parseTime(raw.Created)
		if err != nil {
			return nil, err
		}
		updated, err := parseTime(raw.Updated)
		if err != nil {
			return nil, err
		}
		read[i] = DeviceServer{raw.ID, created, updated, raw.Description, raw.IP, raw.Status}
	}
	return read, nil
}

func parseTime(text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(timeLayout, *text)
	if err != nil {
		return time.Time{}, errors.New("created or updated is not a time such as 2015-06-13 23:19:16.215235")
	}
	return t, nil
}

// DeviceServer reads one device server. A device server that bunq does not know is an [Error] with [ReasonNotFound].
func (c *Client) DeviceServer(ctx context.Context, id int64) (DeviceServer, error) {
	return readOne(ctx, id, c.read)
}

func readOne(ctx context.Context, id int64, read func(context.Context, exchange) error) (found DeviceServer, err error) {
	err = read(ctx, exchange{
		Operation: ReadDeviceServer,
		path:      "device-server/" + strconv.FormatInt(id, 10),
		decode: func(body []byte) error {
			read, err := new(deviceServerPage).decode(body)
			if err == nil && (len(read) != 1 || read[0].ID != id) {
				err = fmt.Errorf("the answer is not the one device server %d", id)
			}
			if err == nil {
				found = read[0]
			}
			return err
		},
	})
	return found, err
}

// pageSize is the most device servers that bunq lists in one answer.
const pageSize = 200

// Page is a part of the list of device servers, newest first.
type Page struct {
	DeviceServers []DeviceServer
	Older         int64 // what the next page is asked for with; 0: there are no older ones
}

// DeviceServers lists up to 200 device servers of the account, newest first: those with ids below older, or, if that is 0,
// the newest. It is one API call. bunq documents Older of an earlier page for older, and no other number.
func (c *Client) DeviceServers(ctx context.Context, older int64) (Page, error) {
	return readPage(ctx, older, c.read)
}

func readPage(ctx context.Context, older int64, read func(context.Context, exchange) error) (page Page, err error) {
	query := url.Values{"count": {strconv.Itoa(pageSize)}}
	if older > 0 {
		query.Set("older_id", strconv.FormatInt(older, 10))
	}
	err = read(ctx, exchange{
		Operation: ListDeviceServers,
		path:      "device-server?" + query.Encode(),
		decode:    func(body []byte) (err error) { page, err = decodePage(body, older); return err },
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func decodePage(body []byte, older int64) (Page, error) {
	var answer deviceServerPage
	listed, err := answer.decode(body)
	if err != nil {
		return Page{}, err
	}
	if i := slices.IndexFunc(listed, func(d DeviceServer) bool { return older > 0 && d.ID >= older }); i >= 0 {
		return Page{}, fmt.Errorf("the answer has the device server %d, which is not below older_id", listed[i].ID)
	}
	next, err := nextOlder(answer.Pagination.OlderURL, older)
	return Page{listed, next}, err
}

// nextOlder takes the older_id out of an older_url: only that, so that no answer can send the token elsewhere. Ids must
// fall from page to page, or the list would never end.
func nextOlder(olderURL *string, older int64) (int64, error) {
	if olderURL == nil {
		return 0, nil
	}
	invalid := errors.New("the answer's older_url has no older_id below that of its own page")
	u, err := url.Parse(*olderURL)
	if err != nil {
		return 0, invalid
	}
	next, err := strconv.ParseInt(u.Query().Get("older_id"), 10, 64)
	if err != nil || next < 1 || older > 0 && next >= older {
		return 0, invalid
	}
	return next, nil
}
