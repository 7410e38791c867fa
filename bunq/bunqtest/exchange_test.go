package bunqtest_test

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const requestID = "X-Bunq-Client-Request-Id"

// exchange is a request and what its answer must be.
type exchange struct {
	Wait       time.Duration
	Status     bunq.Status // of the newest device server
	Do         string      // method and path
	Body       string
	Header     map[string]string // in place of those of the client; not sent if empty
	Signed     *string           // in place of the body
	From       string            // address
	Want       string            // status code and beginning of the error description
	RetryAfter string            `yaml:"retry_after"`
	IDs        string            // number, first and last of the listed device servers
	Match      string            // regular expression for the answer as fmt.Sprint writes it, with sorted keys
}

type exchangeFile struct {
	Requests []exchange
	Cases    []struct {
		Name      string
		Options   bunqtest.Options
		Headers   map[string]string // of all requests
		Handshake int               // number of its calls that come first
		Devices   int
		AtOnce    bool `yaml:"at_once"`
		Exchanges []exchange
	}
}

func readExchanges(t *testing.T) (file exchangeFile) {
	t.Helper()
	text, err := os.Open("testdata/exchanges.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = text.Close() }()
	decoder := yaml.NewDecoder(text)
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

// rawClient sends HTTP requests to an API with two users, without the client of package bunq.
type rawClient struct {
	*bunqtest.Server
	warning string
	headers map[string]string // of each request
	texts   map[string]string // of the $names in requests
	seen    map[string]bool   // response ids
}

func newRawClient(options bunqtest.Options) *rawClient {
	const apiKey, otherKey = "sandbox_0123456789abcdef", "sandbox_fedcba9876543210"
	api := bunqtest.New(options)
	api.AddUser(bunqtest.User{ID: 1, Kind: "UserPerson", APIKey: apiKey, SessionTimeout: time.Hour})
	api.AddUser(bunqtest.User{ID: 2, Kind: "UserApiKey", APIKey: otherKey, SessionTimeout: time.Hour})
	key, _ := x509.MarshalPKIXPublicKey(&bunqtest.ClientKey(0).PublicKey)
	return &rawClient{
		Server: api, warning: options.Warning, seen: map[string]bool{},
		headers: map[string]string{
			"User-Agent": "raw/1", "Cache-Control": "no-cache", "Content-Type": "application/json",
			"X-Bunq-Language": "nl_NL", "X-Bunq-Region": "nl_NL", "X-Bunq-Geolocation": "4.89 52.37 -2 100 NL",
		},
		texts: map[string]string{
			"key": base64.StdEncoding.EncodeToString(key), "apiKey": apiKey, "otherKey": otherKey,
			"long": strings.Repeat("d", 2<<20),
		},
	}
}

// addDevices adds n device servers of the first user, with the ids 1 to n.
func (c *rawClient) addDevices(n int) {
	created := time.Date(2015, 6, 13, 23, 19, 16, 215235000, time.UTC)
	for id := 1; id <= n; id++ {
		c.AddDeviceServer(1, bunq.DeviceServer{
			ID: int64(id), Created: created, Updated: created.Add(time.Duration(id) * time.Microsecond),
			Description: "a server", IP: "192.0.2.7", Status: bunq.Statuses[id%4],
		})
	}
}

// request makes a request. By default it has the token of the session, if that may be, or else of the installation.
func (c *rawClient) request(e exchange) (r *http.Request, body string) {
	expand := func(text string) string { return os.Expand(text, func(name string) string { return c.texts[name] }) }
	method, path, _ := strings.Cut(e.Do, " ")
	body = expand(e.Body)
	r = httptest.NewRequest(method, path, strings.NewReader(body)) // from 192.0.2.1
	if e.From != "" {
		r.RemoteAddr = e.From + ":1234"
	}
	token, signed := c.texts["installation"], body
	if method == http.MethodGet {
		token = cmp.Or(c.texts["session"], token)
	}
	if e.Signed != nil {
		signed = *e.Signed
	}
	r.Header.Set(requestID, uuid.NewString())
	r.Header.Set("X-Bunq-Client-Authentication", token)
	if method == http.MethodPost || e.Signed != nil {
		sum := sha256.Sum256([]byte(signed))
		signature, _ := rsa.SignPKCS1v15(nil, bunqtest.ClientKey(0), crypto.SHA256, sum[:])
		r.Header.Set("X-Bunq-Client-Signature", base64.StdEncoding.EncodeToString(signature))
	}
	for _, headers := range []map[string]string{c.headers, e.Header} {
		for name, value := range headers {
			if r.Header.Set(name, expand(value)); value == "" {
				r.Header.Del(name)
			}
		}
	}
	return r, body
}

// answer is a response. Its text has the keys of all objects in order.
type answer struct {
	status int
	header http.Header
	body   []byte
	text   string
}

func newAnswer(recorder *httptest.ResponseRecorder) *answer {
	var content any
	_ = json.Unmarshal(recorder.Body.Bytes(), &content)
	return &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes(), fmt.Sprint(content)}
}

// first returns what the first group of a regular expression matches.
func (a *answer) first(expression string) string {
	return append(regexp.MustCompile(expression).FindStringSubmatch(a.text), "", "")[1]
}

// ids returns the number of the listed device servers, the first and the last id.
func (a *answer) ids() string {
	all := regexp.MustCompile(`\bid:(\d+) ip:`).FindAllStringSubmatch(a.text, -1)
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%d from %s to %s", len(all), all[0][1], all[len(all)-1][1])
}

// do makes an exchange, checks it, and against openapi.yml too, and notes the token.
func (c *rawClient) do(t *testing.T, e exchange) {
	t.Helper()
	if e.Status != "" {
		c.SetStatus(c.DeviceServers()[0].ID, e.Status)
	}
	r, body := c.request(e)
	recorder := httptest.NewRecorder()
	c.ServeHTTP(recorder, r)
	got := newAnswer(recorder)
	result := fmt.Sprint(got.status, " ", got.first("error_description:(.*) error_description_translated:"))
	if !strings.HasPrefix(result, cmp.Or(e.Want, "200 ")) || e.IDs != "" && got.ids() != e.IDs ||
		!regexp.MustCompile(e.Match).MatchString(got.text) {
		t.Errorf("%+v: %s, ids %s: %.2000s", e, result, got.ids(), got.text)
	}
	header := got.header.Get
	if header(requestID) != r.Header.Get(requestID) || header("X-Bunq-Warning") != c.warning ||
		header("Retry-After") != e.RetryAfter || header("Content-Type") != "application/json" ||
		c.seen[header("X-Bunq-Client-Response-Id")] {
		t.Errorf("%+v: headers %v", e, got.header)
	}
	c.seen[header("X-Bunq-Client-Response-Id")] = true
	if err := checkDocument(r, body, got); err != nil {
		t.Errorf("%+v: %v", e, err)
	}
	if token := got.first(`\btoken:([0-9a-f]{64})\b`); token != "" {
		owner, _, _ := strings.Cut(strings.TrimPrefix(e.Do, "POST /v1/"), "-")
		if c.texts[owner] == token {
			t.Errorf("%+v: the token is that of before", e)
		}
		c.texts[owner] = token
	}
}

func TestExchanges(t *testing.T) {
	file := readExchanges(t)
	for _, test := range file.Cases {
		t.Run(test.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, pause := newRawClient(test.Options), 30*time.Second
				c.addDevices(test.Devices)
				if test.Headers != nil {
					c.headers = test.Headers
				}
				for i, e := range append(file.Requests[:test.Handshake:test.Handshake], test.Exchanges...) {
					if test.AtOnce && i > test.Handshake {
						pause = 0
					}
					time.Sleep(pause + e.Wait)
					c.do(t, e)
				}
			})
		})
	}
}
