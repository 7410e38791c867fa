package bunqtest

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"bunq_exporter/bunq"
)

// Options choose between the readings of what is not known of the real API. The zero value is the likelier one of each.
type Options struct {
	Environment bunq.Environment // whose keys are taken; "": sandbox

	InstallationTokenReads  Reads         // what an installation token may read, besides logging in
	BareInstallationRefused bool          // an installation may read nothing before it has a device server
	OwnInstallationOnly     bool          // the list holds the device servers of the installation, not all of the user's
	UnknownOlderID          OlderID       // what an older_id does that is no device server of the user's
	UnknownTokenForbidden   bool          // an unknown token is answered 403, not 401
	UseExtendsSession       bool          // a session ends that long after its last use, not after its start
	RegistrationSigned      bool          // POST /device-server without a signature is refused
	OlderSignatures         bool          // answers are signed over status and headers too
	ErrorsSigned            bool          // answers from 400 on are signed, but for 429, 491 and 5xx
	RetryAfter              bool          // a 429 says how long to wait
	Penalty                 time.Duration // after a 429, nothing is allowed for that long

	Unlimited bool // no rate limits, for tests and measurements of something else

	Warning string // an X-Bunq-Warning for every answer
}

// Reads says which device servers may be read with an installation token.
type Reads int

// The readings of what an installation token may do.
const (
	ReadsListAndOne Reads = iota
	ReadsList
	ReadsNothing
)

// OlderID says what a number does as older_id: bunq documents only those that its older_url names.
type OlderID int

// The readings of what an older_id does.
const (
	OlderIDCompares OlderID = iota
	OlderIDShowsNothing
	OlderIDRefused
)

// User is an account at the simulated bunq.
type User struct {
	ID             int64
	Kind           string // UserPerson, UserCompany, UserApiKey or UserPaymentServiceProvider
	APIKey         string
	SessionTimeout time.Duration // in whole seconds
	AnyAddress     bool          // the key is not bound to the address that it is first used from
}

type user struct {
	User
	addresses []string // that the key is bound to; none before its first use
}

type installation struct {
	token  string
	key    *rsa.PublicKey
	device *device // nil before POST /device-server
	used   map[string]struct{}
}

type device struct {
	bunq.DeviceServer
	user         *user
	installation *installation // nil for one that was there before
	addresses    []string      // that may use it; "*" is any
}

type session struct {
	user         *user
	installation *installation
	expires      time.Time
}

// Server is the simulated API, an [http.Handler] below /v1/. It is safe for concurrent use.
type Server struct {
	options   Options
	key       *rsa.PrivateKey
	publicKey string // in PEM
	mux       *http.ServeMux

	mu            sync.Mutex
	lastID        int64
	users         []*user
	devices       []*device // newest first
	installations []*installation
	sessions      map[string]*session
	windows       map[string]*window
	requests      map[bunq.Operation]int
}

// New returns an API without users.
func New(options Options) (*Server, error) {
	options.Environment = cmp.Or(options.Environment, bunq.Sandbox)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making the server's key pair: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the server's public key: %w", err)
	}
	s := &Server{
		options:   options,
		key:       key,
		publicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		lastID:    1000,
		sessions:  map[string]*session{},
		windows:   map[string]*window{},
		requests:  map[bunq.Operation]int{},
	}
	s.mux = s.routes()
	return s, nil
}

// AddUser adds an account.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, &user{User: u})
}

// AddDeviceServer adds one that some other program of the user once registered.
func (s *Server) AddDeviceServer(userID int64, d bunq.DeviceServer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.users, func(u *user) bool { return u.ID == userID })
	s.addDevice(&device{DeviceServer: d, user: s.users[i]})
}

func (s *Server) addDevice(d *device) {
	i, _ := slices.BinarySearchFunc(s.devices, d.ID, func(a *device, id int64) int { return cmp.Compare(id, a.ID) })
	s.devices = slices.Insert(s.devices, i, d)
	s.lastID = max(s.lastID, d.ID)
}

// SetStatus gives a device server another status. The sessions of one that is not ACTIVE end.
func (s *Server) SetStatus(id int64, status bunq.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.ID == id {
			d.Status, d.Updated = status, now()
		}
	}
	for _, open := range s.sessions {
		if d := open.installation.device; d.ID == id && status != bunq.StatusActive {
			open.expires = now()
		}
	}
}

// DeviceServers returns all of them, newest first.
func (s *Server) DeviceServers() []bunq.DeviceServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []bunq.DeviceServer
	for _, d := range s.devices {
		all = append(all, d.DeviceServer)
	}
	return all
}

// Sessions returns how many were opened, ended ones included.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Requests returns how many requests came for an operation, refused ones included.
func (s *Server) Requests(o bunq.Operation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[o]
}

// user returns the one with the key, if the key may be used here: in its environment, from its address.
func (s *Server) user(key, address string) (*user, bool) {
	if strings.HasPrefix(key, "sandbox_") != (s.options.Environment == bunq.Sandbox) {
		return nil, false
	}
	for _, u := range s.users {
		if u.APIKey == key {
			if len(u.addresses) == 0 {
				u.addresses = []string{address}
			}
			return u, u.AnyAddress || permits(u.addresses, address)
		}
	}
	return nil, false
}

func permits(addresses []string, address string) bool {
	return slices.Contains(addresses, address) || slices.Contains(addresses, "*")
}

func (s *Server) nextID() int64 {
	s.lastID++
	return s.lastID
}

// newToken returns 64 hexadecimal digits, as bunq's tokens are.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// now is in the resolution of bunq's times.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
