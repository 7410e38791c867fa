package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
)

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

// serve returns what answers the calls.
func (f faultyAnswer) serve() func(*exchange) {
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
	return codedFaults()[f.Name]
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
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	all := slices.Clone(networkFaults)
	for _, f := range file.Faults {
		var calls []bunq.Operation
		for _, name := range f.Calls {
			calls = append(calls, operations[name])
		}
		all = append(all, fault{name: f.Name, calls: calls, serve: f.serve(), shows: f.Shows})
	}
	return all
}
