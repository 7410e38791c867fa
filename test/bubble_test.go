package test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gokitlog "github.com/go-kit/log"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/collector"
)

// exporter is the exporter in a synctest bubble, with its bunq.
type exporter struct {
	*network
	*row
	folder     string
	account    *collector.Account
	pages      http.Handler
	log        logBuffer
	exposition string // of the last scrape
}

// logBuffer is a log that is read while others write to it.
type logBuffer struct {
	mu   sync.Mutex
	text string
}

// Write implements [io.Writer].
func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text += string(line)
	return len(line), nil
}

// take returns what was logged since the last call.
func (b *logBuffer) take() (text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, b.text = b.text, ""
	return text
}

var hosts atomic.Int64

// newExporter returns an exporter that does not log in yet.
func (r *row) newExporter(t *testing.T) *exporter {
	t.Helper()
	host := fmt.Sprintf("bunq%d.example.com", hosts.Add(1))
	options := bunqtest.Options{Strict: true, OwnInstallationOnly: r.call == bunq.ReadDeviceServer.String()}
	e := &exporter{network: newNetwork(t, host, options), row: r, folder: t.TempDir()}
	check(t, syscall.Mount("tmpfs", e.folder, "tmpfs", 0, "size=128k"))
	t.Cleanup(func() { unmount(t, e.folder) })
	transport := bunq.NewTransport()
	t.Cleanup(transport.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	e.account, e.pages = newAccount(writeConfig(t, e.folder, "https://"+host+"/v1", 4711),
		bunq.Config{Transport: transport}, bunqtest.ClientKey(0), gokitlog.NewLogfmtLogger(&e.log))
	return e
}

const updated = `bunq_device_server_updated_timestamp_seconds{account="company",id="4711"} `

// scrape scrapes once, and reports whether the device server is shown. It was updated just before, so that an earlier
// value is recognized.
func (e *exporter) scrape() (shown bool) {
	e.SetStatus(4711, bunq.StatusActive)
	start := time.Now()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set(timeoutHeader, "10")
	answer := httptest.NewRecorder()
	e.pages.ServeHTTP(answer, request)
	e.exposition = answer.Body.String()
	shown, want := strings.Contains(e.exposition, `bunq_device_server_up{account="company",id="4711"} 1`), "ACTIVE"
	if e.active.Load() != nil {
		want = cmp.Or(e.shows, want)
	}
	now := strconv.FormatFloat(float64(start.UnixMicro())/1e6, 'g', -1, 64)
	for what, wrong := range map[string]bool{
		"a scrape takes too long":   time.Since(start) > 10*time.Second,
		"an earlier value is shown": strings.Contains(e.exposition, updated) && !hasLine(e.exposition, updated+now),
		"a wrong status is shown":   shown && !hasLine(e.exposition, statusLine(want)),
		"registered twice":          e.registered() > 1,
	} {
		if wrong {
			e.lost[what] = true
		}
	}
	return shown
}

// secret matches the secrets of the exporter.
var secret = regexp.MustCompile(`[0-9a-f]{64}|PRIVATE KEY|` + apiKey)

func statusLine(status string) string {
	return fmt.Sprintf(`bunq_device_server_status{account="company",id="4711",status="%s"} 1`, status)
}

// registered returns how many device servers the exporter has.
func (e *exporter) registered() int { return len(e.DeviceServers()) - 1 }

// isWell reports whether the last scrape showed everything, and no error.
func (e *exporter) isWell() bool {
	for _, line := range []string{
		`bunq_up{account="company"} 1`, `bunq_login_state{account="company",state="ok"} 1`,
		`bunq_context_file_error{account="company"} 0`, statusLine("ACTIVE"),
	} {
		if !hasLine(e.exposition, line) {
			return false
		}
	}
	return strings.Count(e.exposition, "\nbunq_device_server_up{") == 2
}

// series has the values of each series, one for each scrape, in the notation of promtool.
type series struct {
	scrapes int
	values  map[string][]string
}

// add adds a scrape. Prometheus marks a series that a scrape does not have any more as stale.
func (s *series) add(exposition string) {
	for line := range strings.Lines(exposition) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		metric, _, _ := strings.Cut(name, "{")
		if ruleMetrics[metric] {
			name += "}"
			if s.values[name] == nil {
				s.values[name] = slices.Repeat([]string{"_"}, s.scrapes)
			}
			s.values[name] = append(s.values[name], value)
		}
	}
	s.scrapes++
	for name, values := range s.values {
		if len(values) < s.scrapes {
			s.values[name] = append(values, "stale")
		}
	}
}

// repeat adds scrapes in which everything goes on as in the last five.
func (s *series) repeat(scrapes int) {
	for name, values := range s.values {
		for range scrapes {
			next := values[len(values)-5]
			last, err := strconv.ParseFloat(values[s.scrapes-1], 64)
			before, err2 := strconv.ParseFloat(values[s.scrapes-6], 64)
			number, err3 := strconv.ParseFloat(next, 64)
			if grows.MatchString(name) && cmp.Or(err, err2, err3) == nil {
				next = fmt.Sprint(number + last - before)
			}
			values = append(values, next)
		}
		s.values[name] = values
	}
}

// grows matches what counts or is a time.
var grows = regexp.MustCompile(`^\w+(_total|_timestamp_seconds)\{`)

// network is a simulated bunq with HTTP and TLS, but without sockets, which would stop the clock of a synctest bubble.
type network struct {
	*faultyAPI
	connections chan net.Conn
	closed      chan struct{}
}

// networks are those in use, by host.
var networks sync.Map

// useNetworks makes their hosts known to net/http, before any test runs.
func useNetworks() {
	transport := http.DefaultTransport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	for _, c := range []tls.Certificate{valid, expired, otherHost} {
		transport.TLSClientConfig.RootCAs.AddCert(c.Leaf)
	}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, protocol, address string) (net.Conn, error) {
		n, ok := networks.Load(strings.TrimSuffix(address, ":443"))
		if !ok {
			return dial(ctx, protocol, address)
		}
		if f := n.(*network).active.Load(); f != nil && f.dial != nil {
			return f.dial(ctx)
		}
		client, server := net.Pipe()
		n.(*network).connections <- server
		return client, nil
	}
}

// A bubble's clock starts with the year 2000.
var (
	valid     = certificate("*.example.com", 2100)
	expired   = certificate("*.example.com", 1999)
	otherHost = certificate("example.org", 2100)
	untrusted = certificate("*.example.com", 2100)
)

// certificate makes a certificate that is valid until a year begins.
func certificate(host string, year int) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(year)), DNSNames: []string{host},
		NotAfter: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// sessionTimeout makes an exporter open a session each five minutes.
const sessionTimeout = 5*time.Minute + 30*time.Second

// newNetwork starts a network with device server 4711. It ends with the test.
func newNetwork(t *testing.T, host string, options bunqtest.Options) *network {
	t.Helper()
	n := &network{newFaultyAPI(&api{Server: bunqtest.New(options)}), make(chan net.Conn), make(chan struct{})}
	n.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: sessionTimeout})
	n.add(4711, "a server")
	networks.Store(host, n)
	server := &http.Server{Handler: n, ErrorLog: log.New(panics{t}, "", 0)}
	go func() { _ = server.Serve(tls.NewListener(n, &tls.Config{GetConfigForClient: n.configure})) }()
	t.Cleanup(func() {
		_ = server.Close()
		networks.Delete(host)
	})
	return n
}

// panics reports those of faults, which net/http catches and logs.
type panics struct{ *testing.T }

func (p panics) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) {
		p.Errorf("%s", line)
	}
	return len(line), nil
}

// configure implements the TLS configuration of a connection.
func (n *network) configure(*tls.ClientHelloInfo) (*tls.Config, error) {
	if f := n.active.Load(); f != nil && f.tls != nil {
		return f.tls, nil
	}
	return &tls.Config{Certificates: []tls.Certificate{valid}}, nil
}

// Accept implements [net.Listener].
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.connections:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (n *network) Close() error {
	close(n.closed)
	return nil
}

// Addr implements [net.Listener].
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }
