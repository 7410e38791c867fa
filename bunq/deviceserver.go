package bunq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
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

// UnmarshalJSON reads bunq's form of a device server.
func (d *DeviceServer) UnmarshalJSON(text []byte) error {
	var raw struct {
		ID               int64
		Created, Updated *string
		Description, IP  string
		Status           Status
	}
	if json.Unmarshal(text, &raw) != nil {
		return errors.New("a field is of another type than bunq documents")
	}
	if raw.ID < 1 || raw.Status == "" {
		return errors.New("the id or the status is missing")
	}
	created, err := parseTime(raw.Created)
	if err != nil {
		return err
	}
	updated, err := parseTime(raw.Updated)
	if err != nil {
		return err
	}
	*d = DeviceServer{raw.ID, created, updated, raw.Description, raw.IP, raw.Status}
	return nil
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

// deviceServerPage is the body of both readings.
type deviceServerPage struct {
	Response []struct {
		DeviceServer *DeviceServer
	}
	Pagination struct {
		OlderURL *string `json:"older_url"`
	}
}

func (p *deviceServerPage) decode(body []byte) error {
	err := json.Unmarshal(body, p)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return fmt.Errorf("the answer's %s is a JSON %s, which is not what bunq documents", cmp.Or(mistyped.Field, "body"), mistyped.Value)
	}
	if err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if p.Response == nil {
		return errors.New("the answer has no Response")
	}
	for _, object := range p.Response {
		if object.DeviceServer == nil {
			return errors.New("the answer has an object that is not a DeviceServer")
		}
	}
	return nil
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
			var page deviceServerPage
			if err := page.decode(body); err != nil {
				return err
			}
			if len(page.Response) != 1 || page.Response[0].DeviceServer.ID != id {
				return fmt.Errorf("the answer is not the one device server %d", id)
			}
			found = *page.Response[0].DeviceServer
			return nil
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
		decode: func(body []byte) error {
			var answer deviceServerPage
			if err := answer.decode(body); err != nil {
				return err
			}
			listed := make([]DeviceServer, len(answer.Response))
			for i, object := range answer.Response {
				listed[i] = *object.DeviceServer
				if older > 0 && listed[i].ID >= older {
					return fmt.Errorf("the answer has the device server %d, which is not below older_id", listed[i].ID)
				}
			}
			next, err := nextOlder(answer.Pagination.OlderURL, older)
			page = Page{listed, next}
			return err
		},
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
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
