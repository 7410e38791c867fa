// Package bunqtest simulates the bunq API for tests and for the exporter's --demo.
//
// A [Server] performs the handshake, verifies the signatures of requests and signs its responses, applies the rate
// limits, ends sessions, pages lists, binds API keys to addresses, and uses bunq's error descriptions. An API key of
// the other environment is one that no user has. It requires only the headers that bunq requires, unless
// [Options].Strict is set. Where the behavior of the real API is not known for certain, [Options] offers each variant.
// The file openapi.yml describes the API. A [Hostile] one adds faults to it.
package bunqtest

import (
	"cmp"
	"crypto/rsa"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"bunq_exporter/bunq"
)

// User is a user of the simulated bunq.
type User struct {
	ID             int64
	Kind           string // UserPerson, UserCompany, UserApiKey or UserPaymentServiceProvider
	APIKey         string
	SessionTimeout time.Duration // in whole seconds

	addresses []string // of the device servers, which may use the API key
}

type installation struct {
	key        *rsa.PublicKey
	device     *device // the newest; the zero value before POST /device-server
	requestIDs map[string]bool
}

type device struct {
	bunq.DeviceServer
	userID       int64
	installation *installation // nil for those of AddDeviceServer
	addresses    []string      // that may use it; "*" is any
}

type session struct {
	installation *installation
	timeout      time.Duration
	expires      time.Time
}

// Server is a simulated API, an [net/http.Handler] of the paths below /v1/. It is safe for concurrent use.
type Server struct {
	options Options
	lastID  atomic.Int64

	mu            sync.Mutex
	users         map[string]*User         // by API key
	devices       []*device                // newest first
	installations map[string]*installation // by token
	sessions      map[string]*session      // by token
	accepted      map[string][]time.Time   // requests within the rate limit, by address and endpoint
	requests      map[bunq.Operation]int
}

// New returns an API without users.
func New(options Options) *Server {
	s := &Server{
		options: options, users: map[string]*User{}, installations: map[string]*installation{},
		sessions: map[string]*session{}, accepted: map[string][]time.Time{}, requests: map[bunq.Operation]int{},
	}
	s.lastID.Store(1000)
	return s
}

// AddUser adds a user.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.APIKey] = &u
}

// AddDeviceServer adds a device server that another program of the user registered earlier.
func (s *Server) AddDeviceServer(userID int64, d bunq.DeviceServer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addDevice(&device{DeviceServer: d, userID: userID})
}

func (s *Server) addDevice(d *device) {
	i, _ := slices.BinarySearchFunc(s.devices, d.ID, func(a *device, id int64) int { return cmp.Compare(id, a.ID) })
	s.devices = slices.Insert(s.devices, i, d)
	s.lastID.Store(max(s.lastID.Load(), d.ID))
}

// SetStatus sets the status of a device server. With any status but ACTIVE, its sessions end as soon as they are used,
// unless Options.ReadsRefusedAsCredentials is set.
func (s *Server) SetStatus(id int64, status bunq.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.ID == id {
			d.Status, d.Updated = status, now()
		}
	}
}

// DeviceServers returns the device servers of all users, newest first.
func (s *Server) DeviceServers() []bunq.DeviceServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []bunq.DeviceServer
	for _, d := range s.devices {
		all = append(all, d.DeviceServer)
	}
	return all
}

// Requests returns the number of requests of an operation, including those that were refused.
func (s *Server) Requests(o bunq.Operation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[o]
}

// usable reports whether the device server may be used from the address.
func (d *device) usable(address string) bool {
	return d.Status == bunq.StatusActive && permits(d.addresses, address)
}

func permits(addresses []string, address string) bool {
	return slices.Contains(addresses, address) || slices.Contains(addresses, "*")
}

// newToken returns 64 hexadecimal digits, the digits of two UUIDs.
func newToken() string { return strings.ReplaceAll(uuid.NewString()+uuid.NewString(), "-", "") }

// now returns the time in the resolution of bunq's API.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
