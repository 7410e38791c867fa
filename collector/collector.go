package collector

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"bunq_exporter/bunq"
)

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"account"}, labels...), nil)
}

var (
	upDesc = newDesc("bunq_up",
		"1 if bunq answered for this account's device servers in this scrape.")
	scrapeDurationDesc = newDesc("bunq_scrape_duration_seconds",
		"Time that reading this account's device servers took in this scrape.")
	lastSuccessDesc = newDesc("bunq_last_success_timestamp_seconds",
		"End of the last scrape in which bunq answered for this account's device servers, as Unix time; absent before the first.")
	deviceServerUpDesc = newDesc("bunq_device_server_up",
		"1 if this device server was read in this scrape.", "id")
	statusDesc = newDesc("bunq_device_server_status",
		"Field status of the device server: 1 for the one that it has, 0 for the others that bunq documents.", "id", "status")
	infoDesc = newDesc("bunq_device_server_info",
		"Fields description and ip of the device server; always 1.", "id", "description", "ip")
	createdDesc = newDesc("bunq_device_server_created_timestamp_seconds",
		"Field created of the device server, as Unix time.", "id")
	updatedDesc = newDesc("bunq_device_server_updated_timestamp_seconds",
		"Field updated of the device server, as Unix time.", "id")
	deviceServersDesc = newDesc("bunq_device_servers",
		"Device servers on the account by field status, watched or not; absent where the list was not read to its end.", "status")
	unexpectedDesc = newDesc("bunq_unexpected_device_server_info",
		"Fields description, ip and status of a device server that is on the account, but neither in the configuration nor the exporter's own; always 1.",
		"id", "description", "ip", "status")
	loginStateDesc = newDesc("bunq_login_state",
		"How the exporter stands with bunq: 1 for the state that it is in, 0 for the others.", "state")
	sessionExpiryDesc = newDesc("bunq_session_expiry_timestamp_seconds",
		"When the exporter's session ends, as Unix time: its start and field session_timeout of the user; absent without a session.")
	sessionRenewalsDesc = newDesc("bunq_session_renewals_total",
		"Sessions that the exporter opened in place of an earlier one.")
)

var descs = []*prometheus.Desc{
	upDesc, scrapeDurationDesc, lastSuccessDesc, deviceServerUpDesc, statusDesc, infoDesc, createdDesc, updatedDesc,
	deviceServersDesc, unexpectedDesc, loginStateDesc, sessionExpiryDesc, sessionRenewalsDesc,
}

// scrape collects accounts within one context.
type scrape struct {
	ctx      context.Context //nolint:containedctx // a scrape is as long-lived as its context, and Collect takes none
	accounts []*Account
}

var _ prometheus.Collector = (*scrape)(nil)

// Scrape returns a collector that reads the accounts, all at once, and ends with ctx: what was not read by then is
// shown as such.
func Scrape(ctx context.Context, accounts []*Account) prometheus.Collector {
	return &scrape{ctx, accounts}
}

// Describe implements [prometheus.Collector].
func (s *scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
	for _, a := range s.accounts {
		a.calls.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (s *scrape) Collect(ch chan<- prometheus.Metric) {
	var wg sync.WaitGroup
	for _, a := range s.accounts {
		wg.Go(func() { a.collect(s.ctx, ch) })
	}
	wg.Wait()
}

func sendReading(ch chan<- prometheus.Metric, name string, r Reading, lastSuccess time.Time) {
	account := label("account", name)
	send(ch, upDesc, number(r.Answered), account)
	send(ch, scrapeDurationDesc, r.Duration.Seconds(), account)
	sendTime(ch, lastSuccessDesc, lastSuccess, account)
	for _, id := range r.Watched {
		d, read := r.DeviceServers[id]
		id := label("id", strconv.FormatInt(id, 10))
		send(ch, deviceServerUpDesc, number(read), account, id)
		if read {
			sendDeviceServer(ch, account, id, d)
		}
	}
	for _, d := range r.Unexpected {
		id := label("id", strconv.FormatInt(d.ID, 10))
		send(ch, unexpectedDesc, 1, account, label("description", d.Description), id, label("ip", d.IP), label("status", string(d.Status)))
	}
	for status, count := range r.Counts {
		send(ch, deviceServersDesc, float64(count), account, label("status", string(status)))
	}
}

func sendDeviceServer(ch chan<- prometheus.Metric, account, id *dto.LabelPair, d bunq.DeviceServer) {
	for i, status := range documented {
		send(ch, statusDesc, number(status == d.Status), account, id, documentedLabels[i])
	}
	if !slices.Contains(documented, d.Status) {
		send(ch, statusDesc, 1, account, id, label("status", string(d.Status)))
	}
	send(ch, infoDesc, 1, account, label("description", d.Description), id, label("ip", d.IP))
	sendTime(ch, createdDesc, d.Created, account, id)
	sendTime(ch, updatedDesc, d.Updated, account, id)
}

// documented are the statuses that every device server has series for.
var documented = bunq.Statuses()

var documentedLabels = func() (labels []*dto.LabelPair) {
	for _, status := range documented {
		labels = append(labels, label("status", string(status)))
	}
	return labels
}()

func sendLogin(ch chan<- prometheus.Metric, name string, login bunq.Login) {
	account := label("account", name)
	for _, state := range bunq.LoginStates() {
		send(ch, loginStateDesc, number(state == login.State), account, label("state", string(state)))
	}
	sendTime(ch, sessionExpiryDesc, login.SessionExpiry, account)
	ch <- &series{sessionRenewalsDesc, prometheus.CounterValue, float64(login.SessionRenewals), []*dto.LabelPair{account}}
}

// sendTime sends a time to the microsecond, which is bunq's resolution and as exact as a float64 can be; a zero time is
// one that is not known, and left out.
func sendTime(ch chan<- prometheus.Metric, desc *prometheus.Desc, t time.Time, labels ...*dto.LabelPair) {
	if !t.IsZero() {
		send(ch, desc, float64(t.UnixMicro())/1e6, labels...)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
