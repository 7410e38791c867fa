package bunqtest_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

// stage is where a conversation takes place: an API, whose answers pass the contract.
type stage struct {
	t        *testing.T
	api      *bunqtest.Server
	contract *contract
}

// client returns package bunq's own, with a context file and a handler of the API to talk to.
func (s *stage) client(key, file string, api http.Handler) *bunq.Client {
	s.t.Helper()
	client, err := bunq.New(bunq.Config{
		Environment: bunq.Sandbox, APIKey: func() (string, error) { return key, nil }, ContextFile: file,
		Description: "bunq_exporter", PermittedIPs: []string{home, "*"}, UserAgent: "bunq_exporter/test", Transport: bunqtest.Transport(api),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// usual is the client of most conversations.
func (s *stage) usual() *bunq.Client {
	s.t.Helper()
	return s.client(apiKey, s.file(), s.contract.around(s.api, false))
}

func (s *stage) file() string { return filepath.Join(s.t.TempDir(), "bunq.conf") }

// lacking returns the API behind something that loses a header of requests.
func (s *stage) lacking(header string) http.Handler {
	checked := s.contract.around(s.api, true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(header)
		checked.ServeHTTP(w, r)
	})
}

// list reads all pages.
func (s *stage) list(client *bunq.Client) error {
	page, err := client.DeviceServers(s.t.Context(), 0)
	for err == nil && page.Older != 0 {
		page, err = client.DeviceServers(s.t.Context(), page.Older)
	}
	return err
}

func (s *stage) read(client *bunq.Client, id int64) error {
	_, err := client.DeviceServer(s.t.Context(), id)
	return err
}

// fine fails the test if there is an error.
func (s *stage) fine(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// refused fails the test unless the error is bunq's, with that HTTP status.
func (s *stage) refused(err error, status int) {
	s.t.Helper()
	var apiError *bunq.Error
	if !errors.As(err, &apiError) || apiError.StatusCode != status {
		s.t.Errorf("error %v, want HTTP status %d", err, status)
	}
}

// pause is longer than any rate limit.
func pause() { time.Sleep(time.Minute) }

// everything are the options that add to answers.
var everything = bunqtest.Options{Warning: "Your API key is old.", RetryAfter: true, ErrorsSigned: true, OlderSignatures: true}

// conversations say how a reading ends only where that cannot depend on what the client tries next. What the API
// answered on the way is in the contract.
var conversations = map[string]struct {
	kind    string
	options func(*bunqtest.Options)
	play    func(*stage)
}{
	"three pages, and one by one": {play: func(s *stage) {
		addDevices(s.api, 450)
		client := s.usual()
		s.fine(s.list(client))
		pause()
		s.fine(s.read(client, 7))
		s.refused(s.read(client, 999_999), 404)
	}},
	"as little as can be": {options: func(o *bunqtest.Options) { *o = bunqtest.Options{} }, play: func(s *stage) {
		client := s.usual()
		s.fine(s.list(client))
		s.refused(s.read(client, 7), 404)
	}},
	"a company":                  {kind: "UserCompany", play: func(s *stage) { s.fine(s.list(s.usual())) }},
	"a payment service provider": {kind: "UserPaymentServiceProvider", play: func(s *stage) { s.fine(s.list(s.usual())) }},
	"OAuth":                      {kind: "UserApiKey", play: func(s *stage) { s.fine(s.list(s.usual())) }},
	"a wrong API key": {play: func(s *stage) {
		s.refused(s.list(s.client("sandbox_wrong", s.file(), s.contract.around(s.api, false))), 400)
	}},
	"a device server that is blocked": {play: func(s *stage) {
		client := s.usual()
		s.fine(s.list(client))
		s.api.SetStatus(s.api.DeviceServers()[0].ID, bunq.StatusBlocked)
		pause()
		_ = s.list(client) // 401 of the session, then 400 of the login
		pause()
		_ = s.read(client, 7)
	}},
	"more readings than allowed": {play: func(s *stage) {
		file := s.file()
		program := func() *bunq.Client { return s.client(apiKey, file, s.contract.around(s.api, false)) }
		client := program()
		for range 3 {
			s.fine(s.list(client))
		}
		s.refused(s.list(program()), 429)
		s.refused(s.read(program(), 7), 429)
	}},
	"more programs than allowed": {play: func(s *stage) {
		s.fine(s.list(s.usual()))
		for range 4 {
			_ = s.list(s.usual()) // 429 of the login
		}
		s.refused(s.list(s.usual()), 429) // of the installation
	}},
	"a header that gets lost": {play: func(s *stage) {
		s.refused(s.list(s.client(apiKey, s.file(), s.lacking("X-Bunq-Language"))), 400)
		file := s.file()
		s.fine(s.list(s.client(apiKey, file, s.contract.around(s.api, false))))
		client := s.client(apiKey, file, s.lacking("X-Bunq-Geolocation"))
		s.refused(s.list(client), 400)
		s.refused(s.read(client, 7), 400)
	}},
	"a signature that gets lost": {options: func(o *bunqtest.Options) { o.RegistrationSigned = true }, play: func(s *stage) {
		file := s.file()
		s.fine(s.list(s.client(apiKey, file, s.contract.around(s.api, false))))
		pause()
		for _, d := range s.api.DeviceServers() { // end the session, but not the right to a new one
			s.api.SetStatus(d.ID, bunq.StatusBlocked)
			s.api.SetStatus(d.ID, bunq.StatusActive)
		}
		client := s.client(apiKey, file, s.lacking(signatureHeader))
		s.fine(s.list(client)) // with the installation
		s.refused(client.Login().Err, 466)
	}},
	"a context of another bunq, 401": {play: func(s *stage) { s.forgotten(401) }},
	"a context of another bunq, 403": {
		options: func(o *bunqtest.Options) { o.UnknownTokenForbidden = true },
		play:    func(s *stage) { s.forgotten(403) },
	},
	"another client, 401": {play: func(s *stage) { s.otherClient(401) }},
	"another client, 403": {
		options: func(o *bunqtest.Options) { o.UnknownTokenForbidden, o.RegistrationSigned = true, true },
		play:    func(s *stage) { s.otherClient(403) },
	},
}

// forgotten has a client ask with tokens that this API does not know.
func (s *stage) forgotten(status int) {
	elsewhere := newServer(s.t, bunqtest.Options{})
	elsewhere.AddUser(bunqtest.User{ID: userID, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	file := s.file()
	s.fine(s.list(s.client(apiKey, file, elsewhere)))
	pause()
	client := s.client(apiKey, file, s.contract.around(s.api, false))
	s.refused(s.list(client), status)
	pause()
	s.refused(s.read(client, 7), status)
}

// otherClient does what package bunq's client does not: it registers in vain and too often, signs its readings, and
// looks for what is newer.
func (s *stage) otherClient(status int) {
	addDevices(s.api, 30)
	c := newRawClient(s.t, s.contract.around(s.api, true))
	c.installation = "0000000000000000000000000000000000000000000000000000000000000000"
	c.postDeviceServer(nil).refused(status, wordsAuthentication)
	c.install()
	if unsigned := c.postDeviceServer(nil, without(signatureHeader)); status == 403 {
		unsigned.refused(466, wordsUnsigned)
	}
	c.register(home, "2001:db8::1").login()
	for path := "device-server?newer_id=3"; path != ""; {
		page := c.get(path, with(signatureHeader, c.sign(""))).ok()
		path = page.links()["newer_url"]
		path = path[min(len(path), len("/v1/")):]
	}
	c.get("device-server/3", with(signatureHeader, c.sign(""))).ok()
	c.pause = 0
	for range 5 {
		c.postDeviceServer(nil)
	}
	c.postDeviceServer(nil).tooFast(5, 3)
}

func TestClientAndSimulationKeepToTheDocument(t *testing.T) {
	c := readContract(t)
	played := 0
	for name, conversation := range conversations {
		t.Run(name, func(t *testing.T) {
			options := everything
			if conversation.options != nil {
				conversation.options(&options)
			}
			simulateFor(t, options, bunqtest.User{Kind: conversation.kind}, func(t *testing.T, api *bunqtest.Server) {
				conversation.play(&stage{t, api, c})
			})
			for _, problem := range c.problems {
				t.Error(problem)
			}
			c.problems = nil
			played++
		})
	}
	if played < len(conversations) {
		return // -run wants only some
	}
	if diff := cmp.Diff(c.documented, c.seen); diff != "" {
		t.Errorf("what the document has, and what occurred, -documented +occurred:\n%s", diff)
	}
}
