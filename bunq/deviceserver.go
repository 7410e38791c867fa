package bunq

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
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

// Statuses are the documented statuses.
var Statuses = []Status{StatusActive, StatusBlocked, StatusNeedsConfirmation, StatusObsolete}

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
		decode: func(body []byte) error {
			page, _, err := decodePage(body, math.MaxInt64)
			if len(page.DeviceServers) != 1 || page.DeviceServers[0].ID != id {
				return cmp.Or(err, fmt.Errorf("answer is not device server %d", id))
			}
			found = page.DeviceServers[0]
			return nil
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
		older, path := int64(math.MaxInt64), fmt.Sprintf("device-server?count=%d", pageSize)
		for {
			var page Page
			err := c.do(ctx, request{
				Operation: ListDeviceServers, path: path, credentials: credentials,
				decode: func(body []byte) (err error) {
					page, older, err = decodePage(body, older)
					return err
				},
			})
			if errors.Is(err, errPartial) {
				err = nil // it is observed
			}
			if !yield(page, err) || err != nil || page.Last {
				return
			}
			path = fmt.Sprintf("device-server?count=%d&older_id=%d", pageSize, older)
		}
	}
}

// errPartial reports that a part of an answer was left out.
var errPartial = errors.New("objects have no id or no status")

// decodePage returns the page that begins below the id older, and the id below which the next one begins. Objects
// without a usable id or status are left out; times that cannot be read are zero.
func decodePage(body []byte, older int64) (page Page, next int64, err error) {
	var list struct {
		Response []struct {
			DeviceServer struct {
				ID int64

				Created, Updated, Description, IP, Status string
			}
		}
		Pagination struct {
			OlderURL any `json:"older_url"`
		}
	}
	err = json.Unmarshal(body, &list)
	if _, mistyped := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mistyped { // the others are decoded
		return page, 0, fmt.Errorf("answer is not JSON: %w", err)
	}
	if list.Response == nil {
		return page, 0, errors.New("answer has no list of Response objects")
	}
	if n := len(list.Response); n > pageSize { // whatever is the matter, memory and the number of series stay bounded
		return page, 0, fmt.Errorf("answer has %d objects, more than the %d that were asked for", n, pageSize)
	}
	for _, object := range list.Response {
		if raw := object.DeviceServer; raw.ID > 0 && raw.Status != "" {
			page.DeviceServers = append(page.DeviceServers, DeviceServer{
				raw.ID, parseTime(raw.Created), parseTime(raw.Updated), printable(raw.Description), printable(raw.IP),
				Status(printable(raw.Status)),
			})
		}
	}
	next, err = olderID(list.Pagination.OlderURL, older)
	page.Invalid, page.Last = len(list.Response)-len(page.DeviceServers), next == 0
	if err == nil && page.Invalid > 0 {
		err = fmt.Errorf("%d of %d %w", page.Invalid, len(list.Response), errPartial)
	}
	return page, next, err
}

// olderID returns the older_id of an older_url, 0 if there is none. Nothing else of the URL is used, so that no answer
// can send the token elsewhere, and ids must decrease from page to page, or the list would never end.
func olderID(olderURL any, older int64) (next int64, err error) {
	if olderURL == nil {
		return 0, nil
	}
	if u, err := url.Parse(fmt.Sprint(olderURL)); err == nil {
		next, _ = strconv.ParseInt(u.Query().Get("older_id"), 10, 64)
	}
	if next < 1 || next >= older {
		return 0, errors.New("older_url has no older_id below that of its own page")
	}
	return next, nil
}
