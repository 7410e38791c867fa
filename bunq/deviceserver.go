package bunq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Status is the status of a device server. bunq documents four values but not their meaning; other values are kept.
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

// DeviceServer is bunq's object of that name. Its texts are bounded and printable.
type DeviceServer struct {
	ID          int64
	Created     time.Time // UTC, to the microsecond; zero if unknown
	Updated     time.Time // UTC, to the microsecond; zero if unknown
	Description string
	IP          string // the address that it was registered from
	Status      Status
}

// timeLayout is bunq's format of times, which are UTC.
const timeLayout = "2006-01-02 15:04:05.999999"

// deviceServers is the body of both reads.
type deviceServers struct {
	Response []struct {
		DeviceServer *struct {
			ID          int64  `json:"id"`
			Created     string `json:"created"`
			Updated     string `json:"updated"`
			Description string `json:"description"`
			IP          string `json:"ip"`
			Status      string `json:"status"`
		}
	}
	Pagination json.RawMessage
}

// decode returns the device servers of a body. Objects without a usable id or status are left out and reported as
// partial; times that cannot be read are zero.
func (d *deviceServers) decode(body []byte) (read []DeviceServer, partial, err error) {
	err = json.Unmarshal(body, d)
	var mistyped *json.UnmarshalTypeError // everything else has been decoded
	if err != nil && !errors.As(err, &mistyped) {
		return nil, nil, fmt.Errorf("answer is not JSON: %w", err)
	}
	if d.Response == nil {
		return nil, nil, errors.New("answer has no list of Response objects")
	}
	read = make([]DeviceServer, 0, len(d.Response))
	for _, object := range d.Response {
		raw := object.DeviceServer
		if raw == nil || raw.ID < 1 || raw.Status == "" {
			continue
		}
		read = append(read, DeviceServer{
			raw.ID, parseTime(raw.Created), parseTime(raw.Updated), printable(raw.Description), printable(raw.IP),
			Status(printable(raw.Status)),
		})
	}
	if invalid := len(d.Response) - len(read); invalid > 0 {
		partial = fmt.Errorf("%d of %d objects have no id or no status", invalid, len(d.Response))
	}
	return read, partial, nil
}

// parseTime returns a time of bunq, zero if it cannot be read.
func parseTime(text string) time.Time {
	t, _ := time.Parse(timeLayout, text)
	return t
}

// DeviceServer reads one device server. One that is not on the account is an error with [ReasonNotFound].
func (c *Client) DeviceServer(ctx context.Context, credentials Credentials, id int64) (DeviceServer, error) {
	var found DeviceServer
	err := c.do(ctx, request{
		Operation: ReadDeviceServer, path: fmt.Sprintf("device-server/%d", id), credentials: credentials,
		decode: func(body []byte) (partial, err error) {
			read, _, err := new(deviceServers).decode(body)
			if err == nil && (len(read) != 1 || read[0].ID != id) {
				err = fmt.Errorf("answer is not device server %d", id)
			}
			if err == nil {
				found = read[0]
			}
			return nil, err
		},
	})
	return found, err
}

// pageSize is the largest number of device servers that bunq lists in one answer.
const pageSize = 200

// Page is a part of the list of device servers, newest first.
type Page struct {
	DeviceServers []DeviceServer
	Invalid       int  // objects that were left out: they have no usable id or status
	Last          bool // there are no older device servers
}

// DeviceServers lists the device servers of the account, newest first, one API call for each page. The iteration ends
// with the last page or the first error.
func (c *Client) DeviceServers(ctx context.Context, credentials Credentials) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for older := int64(0); ; {
			page, next, err := c.page(ctx, credentials, older)
			if !yield(page, err) || err != nil || page.Last {
				return
			}
			older = next
		}
	}
}

// page reads the device servers below the id older, or the newest for 0. Next is what the following page begins
// below.
func (c *Client) page(ctx context.Context, credentials Credentials, older int64) (page Page, next int64, err error) {
	path := fmt.Sprintf("device-server?count=%d", pageSize)
	if older > 0 {
		path += fmt.Sprintf("&older_id=%d", older)
	}
	err = c.do(ctx, request{
		Operation: ListDeviceServers, path: path, credentials: credentials,
		decode: func(body []byte) (partial, err error) {
			var list deviceServers
			if page.DeviceServers, partial, err = list.decode(body); err == nil {
				next, err = nextPage(list.Pagination, older)
			}
			page.Invalid = len(list.Response) - len(page.DeviceServers)
			page.Last = next == 0
			return partial, err
		},
	})
	return page, next, err
}

// nextPage returns the older_id of older_url, 0 if there is none. Nothing else of the URL is used, so that no answer
// can send the token elsewhere, and ids must decrease from page to page, or the list would never end.
func nextPage(pagination json.RawMessage, older int64) (int64, error) {
	var links struct {
		OlderURL *string `json:"older_url"`
	}
	if text := string(pagination); text == "" || text == "[]" { // PHP's empty object
		return 0, nil
	}
	invalid := errors.New("older_url has no older_id below that of its own page")
	if json.Unmarshal(pagination, &links) != nil {
		return 0, invalid
	}
	if links.OlderURL == nil {
		return 0, nil
	}
	u, err := url.Parse(*links.OlderURL)
	if err != nil {
		return 0, invalid
	}
	next, err := strconv.ParseInt(u.Query().Get("older_id"), 10, 64)
	if err != nil || next < 1 || older > 0 && next >= older {
		return 0, invalid
	}
	return next, nil
}
