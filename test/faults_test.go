package test

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
)

var (
	each = []bunq.Operation{
		bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer, bunq.ListDeviceServers,
		bunq.ReadDeviceServer,
	}
	reads = each[3:]
	some  = each[2:4] // a login and the list

	calls = map[string][]bunq.Operation{
		"each": each, "signed": each[1:], "reads": reads, "some": some,
		"install": each[:1], "register": each[1:2], "login": each[2:3], "list": each[3:4],
	}
)

// faults returns the ways of failing, the files of the exporter aside. A variable would take memory of the exporter in
// benchmarks.
func faults() []fault {
	return slices.Concat([]fault{
		// The network.
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

		// Any answer.
		{name: "broken before it has an effect", calls: each, serve: breakOff},
		{name: "broken before the answer", calls: each, serve: then(breakOff)},
		{name: "broken in the body", calls: each, serve: halfBody(0)},
		{name: "hangs before it has an effect", calls: each, serve: never},
		{name: "hangs before the answer", calls: each, serve: then(never)},
		{name: "hangs in the body", calls: each, serve: halfBody(time.Hour)},
		{name: "one byte a second", calls: some, serve: slowBody},
		{name: "headers without end", calls: reads, serve: then(func(x *exchange) {
			x.drip("HTTP/1.1 200 OK\r\n", "X-Header: "+strings.Repeat("x", 1<<20)+"\r\n", 0)
		})},
		{name: "status 100 each second", calls: some, serve: then(func(x *exchange) {
			x.drip("", "HTTP/1.1 100 Continue\r\n\r\n", time.Second)
		})},
		{name: "status 101", calls: each, serve: then(func(x *exchange) {
			x.drip("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "x", time.Second)
		})},
		{name: "body without end", calls: some, serve: then(func(x *exchange) {
			x.drip("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat(" ", 1<<20), 0)
		})},
		{name: "gzip bomb", calls: some, serve: gzipBomb},
		{name: "a million brackets", calls: some, serve: body(`{"Response":` + strings.Repeat("[", 1e6))},
		{name: "secrets quoted", calls: each, serve: quote},

		// Signatures.
		{name: "signature of another key", calls: some, serve: otherKey},
		{name: "signature of the older scheme", calls: some, serve: olderScheme},
		{name: "earlier answer replayed", calls: each[2:], serve: replay},

		{name: "status of 1 MiB", calls: reads, serve: edit("ACTIVE", strings.Repeat("x", 1<<20)),
			shows: strings.Repeat("x", 300)},
		{name: "pages without end", calls: calls["list"], serve: repeatPage},
	}, dataFaults())
}

// dataFaults returns the faults of testdata/faults.yml.
func dataFaults() (all []fault) {
	var list []struct {
		Name, Calls, Body, Raw, Description, Shows string
		Edit, Header                               []string
		Status                                     int
		After                                      bool
	}
	text, err := os.ReadFile("testdata/faults.yml")
	if err = cmp.Or(err, yaml.Unmarshal(text, &list)); err != nil {
		panic(err)
	}
	for _, d := range list {
		statusName := strings.TrimSpace(fmt.Sprintf("status %d %s", d.Status, http.StatusText(d.Status)))
		f := fault{name: cmp.Or(d.Name, statusName), shows: d.Shows}
		for name := range strings.FieldsSeq(d.Calls) {
			f.calls = append(f.calls, calls[name]...)
		}
		switch {
		case d.Edit != nil:
			f.serve = edit(d.Edit[0], d.Edit[1])
		case d.Status != 0:
			f.serve = status(d.Status, d.Description, d.Header...)
		case d.Header != nil:
			f.serve = header(d.Header[0], d.Header[1])
		case d.Raw != "":
			f.serve = raw(d.Raw)
		default:
			f.serve = body(d.Body)
		}
		if d.After {
			f.serve = then(f.serve)
		}
		all = append(all, f)
	}
	return all
}
