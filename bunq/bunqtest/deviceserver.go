package bunqtest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
)

// readDeviceServer is GET /device-server/{id}. Options.OwnInstallationOnly applies to the list alone.
func (s *Server) readDeviceServer(r *request) *response {
	for _, d := range s.devices {
		if r.URL.Path == fmt.Sprintf("/v1/device-server/%d", d.ID) && d.userID == r.installation.device.userID {
			return success(d.object())
		}
	}
	return failure(http.StatusNotFound, "DeviceServer not found.")
}

// listDeviceServers is GET /device-server.
func (s *Server) listDeviceServers(r *request) *response {
	query := r.URL.Query()
	count, invalidCount := strconv.Atoi(cmp.Or(query.Get("count"), "10"))
	older, invalidOlder := strconv.ParseInt(cmp.Or(query.Get("older_id"), "0"), 10, 64)
	newer, invalidNewer := strconv.ParseInt(cmp.Or(query.Get("newer_id"), "0"), 10, 64)
	if errors.Join(invalidCount, invalidOlder, invalidNewer) != nil || count < 1 || count > 200 {
		return badRequest("The pagination is invalid: count is 1 to 200, older_id and newer_id are ids.")
	}
	all := slices.DeleteFunc(slices.Clone(s.devices), func(d *device) bool {
		hidden := s.options.OwnInstallationOnly && d.installation != r.installation
		return hidden || d.userID != r.installation.device.userID
	})
	page := slices.DeleteFunc(slices.Clone(all), func(d *device) bool {
		return d.ID <= newer || older > 0 && d.ID >= older
	})
	if newer > 0 {
		page = page[max(0, len(page)-count):]
	}
	page = page[:min(count, len(page))]
	items := []object{} // not null in JSON
	for _, d := range page {
		items = append(items, d.object())
	}
	return &response{http.StatusOK, object{"Response": items, "Pagination": pagination(all, page, count)}}
}

// pagination has a URL for each direction in which there are more device servers. The future_url is for those that do
// not exist yet.
func pagination(all, page []*device, count int) object {
	links := object{"future_url": nil, "newer_url": nil, "older_url": nil}
	if len(page) == 0 {
		return links
	}
	newest, oldest := page[0], page[len(page)-1]
	newerLink := "newer_url"
	if newest == all[0] {
		newerLink = "future_url"
	}
	links[newerLink] = fmt.Sprintf("/v1/device-server?newer_id=%d&count=%d", newest.ID, count)
	if oldest != all[len(all)-1] {
		links["older_url"] = fmt.Sprintf("/v1/device-server?older_id=%d&count=%d", oldest.ID, count)
	}
	return links
}

func (d *device) object() object {
	return object{"DeviceServer": object{
		"id": d.ID, "created": d.Created.UTC().Format(timeLayout), "updated": d.Updated.UTC().Format(timeLayout),
		"description": d.Description, "ip": d.IP, "status": d.Status,
		// bunq does not document this field. Its value varies.
		"avatar": []any{nil, "text", 1.5, true}[rand.N(4)], //nolint:gosec // not secret
	}}
}
