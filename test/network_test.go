package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

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
