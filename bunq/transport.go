package bunq

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// transport is that of net/http, with connections that can be replaced while requests are in flight.
type transport struct {
	current atomic.Pointer[http.Transport]
}

// NewTransport returns a transport that clients may share. It sends each request once, and after a timeout it uses new
// connections: one may be alive and never answer again.
func NewTransport() http.RoundTripper {
	t := &transport{}
	t.current.Store(newConnections())
	return t
}

var errBroken = errors.New("the connection broke before the answer")

// RoundTrip implements [http.RoundTripper]. On a connection that breaks, net/http would repeat a GET, with the same
// request id and without regard to the rate limit.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context()) // which ends the body of the answer, too
	var sent atomic.Bool
	return t.current.Load().RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		GetConn: func(string) {
			if sent.Load() {
				cancel(errBroken)
			}
		},
	})))
}

// CloseIdleConnections makes the next requests use new connections. The client calls it after a timeout.
func (t *transport) CloseIdleConnections() { t.current.Swap(newConnections()).CloseIdleConnections() }

// newConnections keeps enough idle connections for many accounts at one host, but none so long that a gateway may be
// about to close it. HTTP/2 connections are pinged: one that dies silently would otherwise be used until a timeout.
func newConnections() *http.Transport {
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.MaxIdleConnsPerHost = connections.MaxIdleConns
	connections.IdleConnTimeout = 30 * time.Second
	connections.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}
	return connections
}
