package app

import (
	"net/http"
	"sync/atomic"
	"time"
)

// transport is that of net/http, with connections that can be replaced while requests are in flight.
type transport struct {
	current atomic.Pointer[http.Transport]
}

// newTransport returns a transport for all accounts. After a timeout, it uses new connections: one may be alive and
// never answer again.
func newTransport() *transport {
	t := &transport{}
	t.current.Store(newConnections())
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.current.Load().RoundTrip(r)
}

// CloseIdleConnections makes the next requests use new connections. The client calls it after a timeout.
func (t *transport) CloseIdleConnections() { t.current.Swap(newConnections()).CloseIdleConnections() }

// newConnections keeps enough idle connections for many accounts at one host, and pings HTTP/2 connections: one that
// dies silently would otherwise be used until a timeout.
func newConnections() *http.Transport {
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.MaxIdleConnsPerHost = connections.MaxIdleConns
	connections.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second}
	return connections
}
