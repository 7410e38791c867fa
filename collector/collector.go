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
	"bunq_exporter/bunq/session"
)

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"account"}, labels...), nil)
}

var (
	accountInfoDesc    = newDesc("bunq_account_info", "Environment of the account.", "environment")
	upDesc             = newDesc("bunq_up", "Whether bunq answered for the device servers of the account in this scrape.")
	scrapeDurationDesc = newDesc("bunq_scrape_duration_seconds", "Time it took to read the device servers.")
	lastSuccessDesc    = newDesc("bunq_last_success_timestamp_seconds", "Unix time of the last answer to a scrape.")
	deviceServerUpDesc = newDesc("bunq_device_server_up", "Whether the device server was read in this scrape.", "id")
	statusDesc         = newDesc("bunq_device_server_status",
		"Whether the device server is in the given status (1) or not (0).", "id", "status")
	infoDesc = newDesc("bunq_device_server_info",
		"Description of the device server and address that it was created from.", "id", "description", "ip")
	createdDesc  = newDesc("bunq_device_server_created_timestamp_seconds", "Unix time of the creation.", "id")
	updatedDesc  = newDesc("bunq_device_server_updated_timestamp_seconds", "Unix time of the last update.", "id")
	completeDesc = newDesc("bunq_device_server_list_complete",
		"Whether the list of device servers was read to its end in this scrape.")
	countDesc = newDesc("bunq_device_servers", "Number of device servers on the account, watched or not.", "status")

	unexpectedDesc = newDesc("bunq_unexpected_device_server_info",
		"Device server on the account that is not configured.", "id", "description", "ip", "status")
	unexpectedCreatedDesc = newDesc("bunq_unexpected_device_server_created_timestamp_seconds",
		"Unix time of the creation of a device server that is not configured.", "id")
	loginStateDesc = newDesc("bunq_login_state", "Whether the login is in the given state (1) or not (0).", "state")
	expiryDesc     = newDesc("bunq_session_expiry_timestamp_seconds", "Unix time of the end of the exporter's session.")
	renewalsDesc   = newDesc("bunq_session_renewals_total", "Number of sessions opened in place of an earlier one.")

	registrationsDesc = newDesc("bunq_registrations_total", "Number of device servers that the exporter registered.")
	contextFileDesc   = newDesc("bunq_context_file_error",
		"Whether the context file is missing, cannot be used or is behind what is in use.")
)

// scrape is a collector of what was read.
type scrape struct{ prometheus.CollectorFunc }

// Describe implements [prometheus.Collector]. It is empty: which series there are depends on bunq.
func (scrape) Describe(chan<- *prometheus.Desc) {}

// Scrape reads the accounts concurrently and returns a collector of the results. It ends with ctx, which must have a
// deadline: what was not read by then is shown as such.
func Scrape(ctx context.Context, accounts []*Account) prometheus.Collector {
	results := make([]Result, len(accounts))
	var wg sync.WaitGroup
	for i, a := range accounts {
		wg.Go(func() { results[i] = a.scrape(ctx) })
	}
	wg.Wait()
	return scrape{func(ch chan<- prometheus.Metric) {
		for i, a := range accounts {
			a.collect(ch, results[i])
		}
	}}
}

func (a *Account) collect(ch chan<- prometheus.Metric, result Result) {
	state := a.State()
	account := label("account", a.name)
	send(ch, accountInfoDesc, 1, account, label("environment", string(a.environment)))
	collectResult(ch, account, result)
	sendTime(ch, lastSuccessDesc, state.LastSuccess, account)
	collectLogin(ch, account, state.Login)
	a.calls.Collect(ch)
}

func collectResult(ch chan<- prometheus.Metric, account *dto.LabelPair, r Result) {
	send(ch, upDesc, number(r.Answered), account)
	send(ch, scrapeDurationDesc, r.Duration.Seconds(), account)
	send(ch, completeDesc, number(r.Complete), account)
	for _, id := range r.Watched {
		d, read := r.DeviceServers[id]
		id := idLabel(id)
		send(ch, deviceServerUpDesc, number(read), account, id)
		if read {
			collectDeviceServer(ch, account, id, d)
		}
	}
	for _, id := range r.Known {
		sendInfo(ch, account, idLabel(id), r.DeviceServers[id])
	}
	for _, id := range r.Unexpected {
		d, id := r.DeviceServers[id], idLabel(id)
		send(ch, unexpectedDesc, 1, account, label("description", d.Description), id, label("ip", d.IP),
			label("status", string(d.Status)))
		sendTime(ch, unexpectedCreatedDesc, d.Created, account, id)
	}
	if r.Complete {
		collectCounts(ch, account, r.DeviceServers)
	}
}

func collectCounts(ch chan<- prometheus.Metric, account *dto.LabelPair, devices map[int64]bunq.DeviceServer) {
	counts := map[bunq.Status]int{}
	for _, status := range bunq.Statuses {
		counts[status] = 0
	}
	for _, d := range devices {
		counts[d.Status]++
	}
	for status, n := range counts {
		send(ch, countDesc, float64(n), account, label("status", string(status)))
	}
}

func idLabel(id int64) *dto.LabelPair { return label("id", strconv.FormatInt(id, 10)) }

func collectDeviceServer(ch chan<- prometheus.Metric, account, id *dto.LabelPair, d bunq.DeviceServer) {
	for _, status := range bunq.Statuses {
		send(ch, statusDesc, number(d.Status == status), account, id, label("status", string(status)))
	}
	if !slices.Contains(bunq.Statuses, d.Status) {
		send(ch, statusDesc, 1, account, id, label("status", string(d.Status)))
	}
	sendInfo(ch, account, id, d)
	sendTime(ch, createdDesc, d.Created, account, id)
	sendTime(ch, updatedDesc, d.Updated, account, id)
}

func sendInfo(ch chan<- prometheus.Metric, account, id *dto.LabelPair, d bunq.DeviceServer) {
	send(ch, infoDesc, 1, account, label("description", d.Description), id, label("ip", d.IP))
}

func collectLogin(ch chan<- prometheus.Metric, account *dto.LabelPair, login session.State) {
	for _, state := range session.LoginStates {
		send(ch, loginStateDesc, number(state == login.Login), account, label("state", state.Name))
	}
	sendTime(ch, expiryDesc, login.Expiry, account)
	send(ch, contextFileDesc, number(login.FileErr != nil), account)
	for desc, n := range map[*prometheus.Desc]int{renewalsDesc: login.Renewals, registrationsDesc: login.Registrations} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), account.GetValue())
	}
}

// sendTime sends a time to the microsecond: bunq's resolution, and as exact as a float64 can be. A zero time is
// unknown and left out.
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

// series is one constant gauge. Those of NewConstMetric hold copies of the labels, which the series of a device
// server share here: with 200 device servers, the copies would be half of the memory of a scrape.
type series struct {
	desc   *prometheus.Desc
	gauge  *dto.Gauge
	labels []*dto.LabelPair // all of the desc's, by name
}

// Desc implements [prometheus.Metric].
func (s *series) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *series) Write(out *dto.Metric) error {
	out.Label, out.Gauge = s.labels, s.gauge
	return nil
}

// label makes a label. Its value is valid UTF-8: texts of bunq are cleaned when they are decoded.
func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// send sends one constant gauge.
func send(ch chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...*dto.LabelPair) {
	ch <- &series{desc, &dto.Gauge{Value: &value}, labels}
}
