package bunqtest_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const (
	apiKey = "sandbox_0123456789abcdef"
	userID = 1
	home   = "192.0.2.1"
	away   = "198.51.100.2"
)

// simulate runs a test on a virtual clock, against an API with one user.
func simulate(t *testing.T, options bunqtest.Options, test func(*testing.T, *bunqtest.Server)) {
	t.Helper()
	simulateFor(t, options, bunqtest.User{}, test)
}

// simulateFor is simulate with a user of the test's own, who is completed.
func simulateFor(t *testing.T, options bunqtest.Options, u bunqtest.User, test func(*testing.T, *bunqtest.Server)) {
	t.Helper()
	u.ID, u.Kind, u.APIKey = userID, cmp.Or(u.Kind, "UserPerson"), cmp.Or(u.APIKey, apiKey)
	u.SessionTimeout = cmp.Or(u.SessionTimeout, 7*24*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		api := newServer(t, options)
		api.AddUser(u)
		test(t, api)
	})
}

func newServer(t *testing.T, options bunqtest.Options) *bunqtest.Server {
	t.Helper()
	api, err := bunqtest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// rawClient speaks HTTP to the simulation with nothing of package bunq's client between them.
type rawClient struct {
	t       *testing.T
	api     http.Handler
	address string        // that its requests come from
	pause   time.Duration // before each request: the default keeps clear of all rate limits
	key     *rsa.PrivateKey
	apiKey  string

	requests     int
	server       *rsa.PublicKey // bunq's
	installation string         // token
	session      string         // token
	device       int64
}

func newRawClient(t *testing.T, api http.Handler) *rawClient {
	return &rawClient{t: t, api: api, address: home, pause: 30 * time.Second, key: testKey(), apiKey: apiKey}
}

// Two key pairs are enough for all tests, and to make one takes a tenth of a second.
var (
	testKey  = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func publicPEM(key *rsa.PrivateKey) string {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// change makes a request other than the usual one.
type change func(*http.Request)

func with(name, value string) change { return func(r *http.Request) { r.Header.Set(name, value) } }
func without(name string) change     { return func(r *http.Request) { r.Header.Del(name) } }
func from(address string) change     { return func(r *http.Request) { r.RemoteAddr = address + ":4711" } }

// do sends a request with every header that bunq wants. A body is signed if there is a token.
func (c *rawClient) do(method, path, token, body string, changes ...change) *answer {
	c.t.Helper()
	time.Sleep(c.pause)
	c.requests++
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	r.RemoteAddr = c.address + ":1234"
	for name, value := range map[string]string{
		"User-Agent": "raw/1", "Cache-Control": "no-cache", "X-Bunq-Language": "nl_NL", "X-Bunq-Region": "nl_NL",
		"X-Bunq-Geolocation": "4.89 52.37 -2 100 NL", "X-Bunq-Client-Request-Id": fmt.Sprintf("%p-%d", c, c.requests),
	} {
		r.Header.Set(name, value)
	}
	if token != "" {
		r.Header.Set("X-Bunq-Client-Authentication", token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("X-Bunq-Client-Signature", c.sign(body))
		}
	}
	for _, change := range changes {
		change(r)
	}
	recorder := httptest.NewRecorder()
	c.api.ServeHTTP(recorder, r)
	return &answer{c.t, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

func (c *rawClient) sign(body string) string {
	sum := sha256.Sum256([]byte(body))
	signature, err := rsa.SignPKCS1v15(nil, c.key, crypto.SHA256, sum[:])
	if err != nil {
		c.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// get reads with the session, if there is one, or else with the installation.
func (c *rawClient) get(path string, changes ...change) *answer {
	c.t.Helper()
	token := c.installation
	if c.session != "" {
		token = c.session
	}
	return c.do(http.MethodGet, "/v1/"+path, token, "", changes...)
}

func (c *rawClient) postInstallation(publicKey string, changes ...change) *answer {
	c.t.Helper()
	return c.do(http.MethodPost, "/v1/installation", "", toJSON(map[string]any{"client_public_key": publicKey}), changes...)
}

func (c *rawClient) postDeviceServer(permitted []string, changes ...change) *answer {
	c.t.Helper()
	body := map[string]any{"description": "raw", "secret": c.apiKey}
	if permitted != nil {
		body["permitted_ips"] = permitted
	}
	return c.do(http.MethodPost, "/v1/device-server", c.installation, toJSON(body), changes...)
}

func (c *rawClient) postSessionServer(changes ...change) *answer {
	c.t.Helper()
	return c.do(http.MethodPost, "/v1/session-server", c.installation, toJSON(map[string]any{"secret": c.apiKey}), changes...)
}

func (c *rawClient) install() *rawClient {
	c.t.Helper()
	objects := c.postInstallation(publicPEM(c.key)).ok().objects()
	c.installation = objects[1]["Token"]["token"].(string)
	block, _ := pem.Decode([]byte(objects[2]["ServerPublicKey"]["server_public_key"].(string)))
	server, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	c.server = server.(*rsa.PublicKey)
	return c
}

func (c *rawClient) register(permitted ...string) *rawClient {
	c.t.Helper()
	c.device = int64(c.postDeviceServer(permitted).ok().objects()[0]["Id"]["id"].(float64))
	return c
}

func (c *rawClient) login() *rawClient {
	c.t.Helper()
	c.session = c.postSessionServer().ok().objects()[1]["Token"]["token"].(string)
	return c
}

// loggedIn returns a client after the whole handshake.
func loggedIn(t *testing.T, api http.Handler) *rawClient {
	t.Helper()
	return newRawClient(t, api).install().register().login()
}

func toJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// addDevices adds n device servers of the user's, with the ids 1 to n.
func addDevices(api *bunqtest.Server, n int) {
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for id := 1; id <= n; id++ {
		api.AddDeviceServer(userID, bunq.DeviceServer{
			ID: int64(id), Created: created, Updated: created.Add(time.Duration(id) * time.Microsecond),
			Description: "a server", IP: "192.0.2.7", Status: bunq.Statuses()[id%4],
		})
	}
}
