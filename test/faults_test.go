package test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bunq_exporter/bunq"
)

var (
	install, register, login = bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer
	list, one                = bunq.ListDeviceServers, bunq.ReadDeviceServer

	each   = []bunq.Operation{install, register, login, list, one}
	signed = each[1:]
	reads  = each[3:]
	some   = []bunq.Operation{login, list}
	posts  = each[:3]
)

func only(calls ...bunq.Operation) []bunq.Operation { return calls }

const shortKey = `-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAM2VoBqNGP/tG94Drsrbb5QuM88Zytxv\n` +
	`3jWBg6GvMgdQU0ynC1Jl4xkFeTV5fxtcxXMSb3fIGntx+8hgj4M47Z0CAwEAAQ==\n-----END PUBLIC KEY-----\n`

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
		{name: "broken in the headers", calls: some, serve: raw("HTTP/1.1 200 OK\r\nContent-Le")},
		{name: "broken in the body", calls: each, serve: halfBody(0)},
		{name: "hangs before it has an effect", calls: each, serve: never},
		{name: "hangs before the answer", calls: each, serve: then(never)},
		{name: "hangs in the body", calls: each, serve: halfBody(time.Hour)},
		{name: "one byte a second", calls: some, serve: slowBody},
		{name: "not HTTP", calls: some, serve: raw("SSH-2.0-OpenSSH_9.2\r\n")},
		{name: "chunks that are none", calls: some, serve: raw(
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")},
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
		{name: "empty body", calls: some, serve: body("")},
		{name: "null", calls: some, serve: body("null")},
		{name: "Response null", calls: some, serve: body(`{"Response":null}`)},
		{name: "Response of null", calls: some, serve: body(`{"Response":[null]}`)},
		{name: "JSON cut off", calls: some, serve: edit(`..$`, "")},
		{name: "HTML", calls: each, serve: body("<html>Sign in to this network</html>")},
		{name: "content type text/html", calls: some, serve: header("Content-Type", "text/html")},
		{name: "redirect", calls: each, serve: status(307, "", "Location", "https://elsewhere.example.com/")},
		{name: "echo of another request", calls: each, serve: header("X-Bunq-Client-Request-Id", "another")},
		{name: "secrets quoted", calls: each, serve: quote},

		// Signatures.
		{name: "not signed", calls: signed, serve: header("X-Bunq-Server-Signature", "")},
		{name: "signature not base64", calls: some, serve: header("X-Bunq-Server-Signature", "?")},
		{name: "signature of another key", calls: some, serve: otherKey},
		{name: "signature of the older scheme", calls: some, serve: olderScheme},
		{name: "earlier answer replayed", calls: only(login, list, one), serve: replay},

		// Logins.
		{name: "token with a line break", calls: only(install, login), serve: edit(`"token":"`, `"token":"a\nb`)},
		{name: "token empty", calls: only(install, login), serve: edit(`"token":"\w+"`, `"token":""`)},
		{name: "server key of 512 bits", calls: only(install), serve: edit(`"-----BEGIN[^"]+"`, `"`+shortKey+`"`)},
		{name: "id 0", calls: only(register), serve: edit(`"id":\d+`, `"id":0`)},
		{name: "id 2^63", calls: only(register), serve: edit(`"id":\d+`, `"id":9223372036854775808`)},
		{name: "id as a string", calls: only(register), serve: edit(`"id":(\d+)`, `"id":"$1"`)},
		{name: "session_timeout 0", calls: only(login), serve: editTimeout(`0`)},
		{name: "session_timeout -1", calls: only(login), serve: editTimeout(`-1`)},
		{name: "session_timeout 1", calls: only(login), serve: editTimeout(`1`)},
		{name: "session_timeout 10^18", calls: only(login), serve: editTimeout(`1000000000000000000`)},
		{name: "no user", calls: only(login), serve: edit(`,\{"UserPerson":.*\}\}`, "")},

		// Reads.
		{name: "id as a string", calls: reads, serve: edit(`"id":4711`, `"id":"4711"`)},
		{name: "id as a float", calls: reads, serve: edit(`"id":4711`, `"id":4711.5`)},
		{name: "id 2^63", calls: reads, serve: edit(`"id":4711`, `"id":9223372036854775808`)},
		{name: "id of another", calls: reads, serve: edit(`"id":4711`, `"id":4712`), shows: "4712"},
		{name: "id null", calls: reads, serve: edit(`"id":4711`, `"id":null`)},
		{name: "status null", calls: reads, serve: editStatus("null")},
		{name: "status twice", calls: reads, serve: editStatus(`"ACTIVE","status":"BLOCKED"`), shows: "BLOCKED"},
		{name: "status that is not documented", calls: reads, serve: editStatus(`"ASLEEP"`), shows: "ASLEEP"},
		{name: "status of 1 MiB", calls: reads, serve: editStatus(`"` + strings.Repeat("x", 1<<20) + `"`),
			shows: strings.Repeat("x", 300)},
		{name: "times of zeros", calls: reads, serve: edit(
			`"(created|updated)":"[^"]+"`, `"$1":"0000-00-00 00:00:00.000000"`)},
		{name: "an object that is no device server", calls: only(list), serve: edit(`\[`, `[{"Token":{"id":1}},`)},
		{name: "an object twice", calls: only(list), serve: edit(`\[(\{"DeviceServer":\{[^}]*\}\})`, `[$1,$1`)},
		{name: "Pagination a list", calls: only(list), serve: edit(`"Pagination":\{[^}]*\}`, `"Pagination":[]`)},
		{name: "older_url of the same page", calls: only(list), serve: olderURL(
			"/v1/device-server?older_id=9223372036854775807")},
		{name: "older_url that goes round", calls: only(list), serve: olderURL("/v1/device-server?older_id=4711")},
		{name: "older_url at another host", calls: only(list), serve: olderURL(
			"https://elsewhere.example.com/?older_id=4711")},
		{name: "older_url without an id", calls: only(list), serve: olderURL("/v1/device-server")},
		{name: "pages without end", calls: only(list), serve: repeatPage},
		{name: "list empty", calls: only(list), serve: body(`{"Response":[]}`)},
	}, statuses())
}

// statuses are the faults of one status code each.
func statuses() (all []fault) {
	const rejected = "User credentials are incorrect. Incorrect API key or IP address."
	all = []fault{
		{name: "status 400, credentials", calls: each, serve: status(400, rejected)},
		{name: "status 400, already exists", calls: only(register), serve: then(status(400, "device already exists"))},
		{name: "status 429, Retry-After of a year", calls: each, serve: status(429, "", "Retry-After", "31536000")},
		{name: "status 502 after the effect", calls: posts, serve: then(status(502, ""))},
	}
	for _, code := range []int{401, 403, 404, 408, 429, 491, 500, 503} {
		all = append(all, fault{name: statusName(code), calls: signed, serve: status(code, "")})
	}
	for _, code := range []int{
		399, 400, 402, 405, 407, 409, 410, 418, 431, 451, 466, 490, 499, 501, 502, 504, 511, 520, 522, 525, 599,
	} {
		all = append(all, fault{name: statusName(code), calls: only(list), serve: status(code, "")})
	}
	return all
}

func statusName(code int) string {
	return strings.TrimSpace("status " + strconv.Itoa(code) + " " + http.StatusText(code))
}
