package test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
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

	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// fault is one way of failing: of the answers to calls, or of the network.
type fault struct {
	name  string
	calls []bunq.Operation
	serve func(*exchange) // in place of bunq; a request has an effect if it takes the answer
	shows string          // what an answer says in place of the truth, and a scrape may show
	dial  func(context.Context) (net.Conn, error)
	tls   *tls.Config

	files   func(t *testing.T, folder string) (repair func())
	running bool // the files are there after a first start only
}

// faultyAPI is a simulated API with a fault.
type faultyAPI struct {
	*api
	active atomic.Pointer[fault] // nil: none

	mu      sync.Mutex
	earlier map[bunq.Operation]*httptest.ResponseRecorder // the first answer to each call
}

func newFaultyAPI(a *api) *faultyAPI {
	return &faultyAPI{api: a, earlier: map[bunq.Operation]*httptest.ResponseRecorder{}}
}

// ServeHTTP implements [http.Handler].
func (a *faultyAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, _, single := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if single {
		endpoint += "/{id}"
	}
	x := &exchange{w, r, a, bunq.Operation{Method: r.Method, Endpoint: endpoint}}
	if f := a.active.Load(); f != nil && slices.Contains(f.calls, x.call) {
		f.serve(x)
		return
	}
	answer := x.answer()
	a.mu.Lock()
	if a.earlier[x.call] == nil {
		a.earlier[x.call] = answer
	}
	a.mu.Unlock()
	copyAnswer(w, answer)
}

// exchange is a request to a faulty API and what is answered.
type exchange struct {
	http.ResponseWriter
	r    *http.Request
	api  *faultyAPI
	call bunq.Operation
}

// answer returns bunq's answer.
func (x *exchange) answer() *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	x.api.Server.ServeHTTP(answer, x.r)
	return answer
}

// send sends a signed body in place of that of an answer.
func (x *exchange) send(body string) { x.api.Answer(x, x.r, http.StatusOK, []byte(body)) }

// write sends raw bytes in place of an answer and returns the connection.
func (x *exchange) write(text string) net.Conn {
	connection, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = connection.Write([]byte(text))
	return connection
}

// drip sends text again and again, as long as the client reads it.
func drip(head, text string, pause time.Duration) func(*exchange) {
	return func(x *exchange) {
		connection := x.write(head)
		for err := error(nil); err == nil; time.Sleep(pause) {
			_, err = connection.Write([]byte(text))
		}
		_ = connection.Close()
	}
}

func status(code int, description string, headers ...string) func(*exchange) {
	return func(x *exchange) {
		for i := 0; i < len(headers); i += 2 {
			x.Header().Set(headers[i], headers[i+1])
		}
		x.api.Answer(x, x.r, code, fmt.Appendf(nil, `{"Error":[{"error_description":%q}]}`, description))
	}
}

func body(text string) func(*exchange) {
	return func(x *exchange) {
		x.answer()
		x.send(text)
	}
}

// edit replaces a part of the body of an answer, which must have it, and signs it again.
func edit(pattern, by string) func(*exchange) {
	return func(x *exchange) {
		before := x.answer().Body.String()
		after := regexp.MustCompile(pattern).ReplaceAllString(before, by)
		if after == before {
			panic(fmt.Sprintf("%s is not in %s", pattern, before))
		}
		x.send(after)
	}
}

// header replaces a header of an answer after it was signed; "" removes it.
func header(name, value string) func(*exchange) {
	return func(x *exchange) {
		answer := x.answer()
		if answer.Header().Set(name, value); value == "" {
			answer.Header().Del(name)
		}
		copyAnswer(x, answer)
	}
}

// then lets a request have its effect before something else than the answer is sent.
func then(send func(*exchange)) func(*exchange) {
	return func(x *exchange) {
		x.answer()
		send(x)
	}
}

func breakOff(*exchange) { panic(http.ErrAbortHandler) }

func raw(text string) func(*exchange) {
	return then(func(x *exchange) { _ = x.write(text).Close() })
}

// halfBody sends the first half of a body, then waits for the given time.
func halfBody(wait time.Duration) func(*exchange) {
	return func(x *exchange) {
		answer := x.answer()
		text := answer.Body.Bytes()
		x.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = x.Write(text[:len(text)/2])
		_ = http.NewResponseController(x.ResponseWriter).Flush()
		select {
		case <-time.After(wait):
		case <-x.r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

func slowBody(x *exchange) {
	answer := x.answer()
	drip("HTTP/1.1 200 OK\r\n\r\n", answer.Body.String()[:1], time.Second)(x)
}

// never sends nothing until the client is gone, which net/http notices once the request is read.
func never(x *exchange) {
	_, _ = io.Copy(io.Discard, x.r.Body)
	<-x.r.Context().Done()
}

// otherKey signs an answer with another key than bunq's.
func otherKey(x *exchange) {
	answer := x.answer()
	sum := sha256.Sum256(answer.Body.Bytes())
	signature, _ := rsa.SignPKCS1v15(nil, bunqtest.ClientKey(1), crypto.SHA256, sum[:])
	answer.Header().Set("X-Bunq-Server-Signature", base64.StdEncoding.EncodeToString(signature))
	copyAnswer(x, answer)
}

var older = bunqtest.New(bunqtest.Options{OlderSignatures: true})

func olderScheme(x *exchange) { older.Answer(x, x.r, http.StatusOK, x.answer().Body.Bytes()) }

// replay sends the first answer to this call again.
func replay(x *exchange) { copyAnswer(x, x.api.earlier[x.call]) }

// quote sends the secrets of the request back, in all that is shown of an answer.
func quote(x *exchange) {
	token := x.r.Header.Get("X-Bunq-Client-Authentication")
	status(http.StatusBadRequest, fmt.Sprintf("Key %s and token %s are odd.", apiKey, token),
		"X-Bunq-Warning", "Your token "+token+" is old.")(x)
}

var bomb = sync.OnceValue(func() string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(make([]byte, 64<<20))
	_ = w.Close()
	return packed.String()
})

func gzipBomb(x *exchange) {
	x.answer()
	x.Header().Set("Content-Encoding", "gzip")
	x.send(bomb())
}

// repeatPage sends the first page again, with a link to one after it.
func repeatPage(x *exchange) {
	query := x.r.URL.Query()
	older, _ := strconv.Atoi(cmp.Or(query.Get("older_id"), "5000"))
	query.Del("older_id")
	x.r.URL.RawQuery = query.Encode()
	edit(`"older_url":null`, fmt.Sprintf(`"older_url":"/v1/device-server?older_id=%d"`, older-1))(x)
}

// networkFaults are the ways of failing without an answer.
var networkFaults = []fault{
	{name: "connection refused", dial: func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "no such host", dial: func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	}},
	{name: "packets dropped", dial: func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // as in net/http
		defer cancel()
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}},
	{name: "closed once connected", dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		return client, server.Close()
	}},
	{name: "TLS expired", tls: &tls.Config{Certificates: []tls.Certificate{expired}}},
	{name: "TLS of another host", tls: &tls.Config{Certificates: []tls.Certificate{otherHost}}},
	{name: "TLS not trusted", tls: &tls.Config{Certificates: []tls.Certificate{untrusted}}},
	{name: "TLS 1.1", tls: &tls.Config{Certificates: []tls.Certificate{valid}, MaxVersion: tls.VersionTLS11}},
}

var operations = map[string]bunq.Operation{
	"install": bunq.CreateInstallation, "register": bunq.CreateDeviceServer, "login": bunq.CreateSessionServer,
	"list": bunq.ListDeviceServers, "one": bunq.ReadDeviceServer,
}

// faultyAnswer is a fault of testdata/faults.yml, which describes the fields.
type faultyAnswer struct {
	Name, Shows, Description, Raw string
	Calls, Edit, Header           []string
	Body                          *string
	Status                        int
	Then                          bool
}

// serve returns what answers the calls, one of the coded faults if that is not data.
func (f faultyAnswer) serve(coded map[string]func(*exchange)) func(*exchange) {
	switch {
	case f.Then:
		return then(status(f.Status, f.Description))
	case f.Status > 0:
		return status(f.Status, f.Description, f.Header...)
	case f.Header != nil:
		return header(f.Header[0], f.Header[1])
	case f.Edit != nil:
		return edit(f.Edit[0], f.Edit[1])
	case f.Body != nil:
		return body(*f.Body)
	case f.Raw != "":
		return raw(f.Raw)
	}
	return coded[f.Name]
}

// codedFaults are those that are more than data. A variable would take memory of the exporter in benchmarks.
func codedFaults() map[string]func(*exchange) {
	return map[string]func(*exchange){
		"broken before it has an effect": breakOff,
		"broken before the answer":       then(breakOff),
		"broken in the body":             halfBody(0),
		"hangs before it has an effect":  never,
		"hangs before the answer":        then(never),
		"hangs in the body":              halfBody(time.Hour),
		"one byte a second":              slowBody,
		"headers without end": then(drip(
			"HTTP/1.1 200 OK\r\n", "X-Header: "+strings.Repeat("x", 1<<20)+"\r\n", 0)),
		"status 100 each second": then(drip("", "HTTP/1.1 100 Continue\r\n\r\n", time.Second)),
		"status 101": then(drip(
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "x", time.Second)),
		"body without end":              then(drip("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat(" ", 1<<20), 0)),
		"gzip bomb":                     gzipBomb,
		"a million brackets":            body(`{"Response":` + strings.Repeat("[", 1e6)),
		"secrets quoted":                quote,
		"signature of another key":      otherKey,
		"signature of the older scheme": olderScheme,
		"earlier answer replayed":       replay,
		"status of 1 MiB":               edit(`"status":"ACTIVE"`, `"status":"`+strings.Repeat("x", 1<<20)+`"`),
		"pages without end":             repeatPage,
	}
}

// faults returns the ways of failing, the files of the exporter aside.
func faults(t *testing.T) []fault {
	t.Helper()
	var file struct {
		Calls  any // the lists that the faults refer to
		Faults []faultyAnswer
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(readFile(t, "testdata/faults.yml"))))
	decoder.KnownFields(true)
	check(t, decoder.Decode(&file))
	all, coded := slices.Clone(networkFaults), codedFaults()
	for _, f := range file.Faults {
		var calls []bunq.Operation
		for _, name := range f.Calls {
			calls = append(calls, operations[name])
		}
		all = append(all, fault{name: f.Name, calls: calls, serve: f.serve(coded), shows: f.Shows})
	}
	return all
}
