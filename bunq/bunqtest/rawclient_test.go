package bunqtest_test

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const (
	requestID       = "X-Bunq-Client-Request-Id"
	signatureHeader = "X-Bunq-Client-Signature"

	apiKey      = "sandbox_0123456789abcdef"
	otherAPIKey = "sandbox_fedcba9876543210"
	userID      = 1
	timeout     = time.Hour
	home        = "192.0.2.1"
	away        = "198.51.100.2"
)

// simulate runs a test with a fake clock and an API with two users.
func simulate(t *testing.T, options bunqtest.Options, test func(*testing.T, *bunqtest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := bunqtest.New(options)
		api.AddUser(bunqtest.User{ID: userID, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: timeout})
		api.AddUser(bunqtest.User{ID: 2, Kind: "UserApiKey", APIKey: otherAPIKey, SessionTimeout: timeout})
		test(t, api)
	})
}

// addDevices adds n device servers of the first user, with the ids 1 to n.
func addDevices(api *bunqtest.Server, n int) {
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for id := 1; id <= n; id++ {
		api.AddDeviceServer(userID, bunq.DeviceServer{
			ID: int64(id), Created: created, Updated: created.Add(time.Duration(id) * time.Microsecond),
			Description: "a server", IP: "192.0.2.7", Status: bunq.Statuses[id%4],
		})
	}
}

// rawClient sends HTTP requests to an API, without the client of package bunq. It checks every exchange against
// openapi.yml.
type rawClient struct {
	t       *testing.T
	api     http.Handler
	pause   time.Duration // before each request; the default avoids the rate limits
	key     *rsa.PrivateKey
	apiKey  string
	headers map[string]string // of each request

	server       *rsa.PublicKey
	installation string // token
	session      string // token
	device       int64
}

func newRawClient(t *testing.T, api http.Handler) *rawClient {
	return &rawClient{
		t: t, api: api, pause: 30 * time.Second, key: bunqtest.ClientKey(0), apiKey: apiKey,
		headers: map[string]string{
			"User-Agent": "raw/1", "Cache-Control": "no-cache", "Content-Type": "application/json",
			"X-Bunq-Language": "nl_NL", "X-Bunq-Region": "nl_NL", "X-Bunq-Geolocation": "4.89 52.37 -2 100 NL",
		},
	}
}

// loggedIn returns a client after the handshake.
func loggedIn(t *testing.T, api http.Handler) *rawClient {
	t.Helper()
	return newRawClient(t, api).install().register().login()
}

func (c *rawClient) install() *rawClient {
	c.t.Helper()
	got := c.postInstallation(publicPEM(c.key))
	c.installation = got.object(1, "Token")["token"].(string)
	c.server, _ = bunq.ParsePublicKey(got.object(2, "ServerPublicKey")["server_public_key"].(string))
	return c
}

func (c *rawClient) register(permitted ...string) *rawClient {
	c.t.Helper()
	c.device = int64(c.postDeviceServer(permitted).object(0, "Id")["id"].(float64))
	return c
}

func (c *rawClient) login() *rawClient {
	c.t.Helper()
	c.session = c.postSessionServer().object(1, "Token")["token"].(string)
	return c
}

// change modifies a request before it is sent.
type change func(*http.Request)

func from(address string) change { return func(r *http.Request) { r.RemoteAddr = address + ":1234" } }

// with sets a header, or deletes it if the value is empty.
func with(name, value string) change {
	return func(r *http.Request) {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
}

// do sends a request with the headers that bunq documents. A body is signed if there is a token.
func (c *rawClient) do(method, path, token, body string, changes ...change) *answer {
	c.t.Helper()
	time.Sleep(c.pause)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	from(home)(r)
	r.Header.Set(requestID, uuid.NewString())
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("X-Bunq-Client-Authentication", token)
	if method == http.MethodPost && token != "" {
		r.Header.Set(signatureHeader, c.sign(body))
	}
	for _, change := range changes {
		change(r)
	}
	recorder := httptest.NewRecorder()
	c.api.ServeHTTP(recorder, r)
	got := newAnswer(c.t, recorder)
	if err := checkDocument(r, body, got); err != nil {
		c.t.Errorf("%s %s, status %d: %v", method, path, got.status, err)
	}
	return got
}

func (c *rawClient) sign(body string) string {
	sum := sha256.Sum256([]byte(body))
	signature, _ := rsa.SignPKCS1v15(nil, c.key, crypto.SHA256, sum[:])
	return base64.StdEncoding.EncodeToString(signature)
}

// get sends the token of the session, or else that of the installation.
func (c *rawClient) get(path string, changes ...change) *answer {
	return c.do(http.MethodGet, "/v1/"+path, cmp.Or(c.session, c.installation), "", changes...)
}

func (c *rawClient) postInstallation(publicKey string, changes ...change) *answer {
	body := fmt.Sprintf(`{"client_public_key":%q}`, publicKey)
	return c.do(http.MethodPost, "/v1/installation", "", body, changes...)
}

func (c *rawClient) postDeviceServer(permitted []string, changes ...change) *answer {
	body := map[string]any{"description": "raw", "secret": c.apiKey}
	if permitted != nil {
		body["permitted_ips"] = permitted
	}
	text, _ := json.Marshal(body)
	return c.do(http.MethodPost, "/v1/device-server", c.installation, string(text), changes...)
}

func (c *rawClient) postSessionServer(changes ...change) *answer {
	body := fmt.Sprintf(`{"secret":%q}`, c.apiKey)
	return c.do(http.MethodPost, "/v1/session-server", c.installation, body, changes...)
}

func publicPEM(key *rsa.PrivateKey) string { return bunq.EncodePublicKey(&key.PublicKey) }

// answer is a response to a rawClient.
type answer struct {
	t       *testing.T
	status  int
	header  http.Header
	body    []byte
	content struct {
		Response   []map[string]map[string]any
		Pagination map[string]string // null is ""
	}
}

func newAnswer(t *testing.T, recorder *httptest.ResponseRecorder) *answer {
	a := &answer{t: t, status: recorder.Code, header: recorder.Header(), body: recorder.Body.Bytes()}
	_ = json.Unmarshal(a.body, &a.content)
	return a
}

// The error descriptions that clients compare.
const (
	errCredentials    = "User credentials are incorrect. Incorrect API key or IP address."
	errAuthorisation  = "Insufficient authorisation."
	errAuthentication = "Insufficient authentication."
	errSignature      = "The request signature is invalid."
	errUnsigned       = "For this operation a request signature is required."
)

// has fails the test unless the answer has that status, and that beginning of a description if it is an error.
func (a *answer) has(status int, description string) *answer {
	a.t.Helper()
	described := strings.Contains(string(a.body), `"error_description":"`+description)
	if a.status != status || described != (status != http.StatusOK) {
		a.t.Fatalf("status %d: %.200s; want %d %q", a.status, a.body, status, description)
	}
	return a
}

// ok fails the test unless the answer is a success.
func (a *answer) ok() *answer {
	a.t.Helper()
	return a.has(http.StatusOK, "")
}

// object returns an object of the Response array.
func (a *answer) object(i int, key string) map[string]any {
	a.t.Helper()
	return a.ok().content.Response[i][key]
}

// ids returns the ids of the listed device servers.
func (a *answer) ids() (ids []int64) {
	a.t.Helper()
	for i := range a.ok().content.Response {
		ids = append(ids, int64(a.object(i, "DeviceServer")["id"].(float64)))
	}
	return ids
}
