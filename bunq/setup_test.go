package bunq_test

import (
	"cmp"
	"context"
	_ "embed" // for the key
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
)

const (
	apiKey     = "sandbox_0123456789abcdef"
	token      = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	responseID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
)

var (
	//go:embed bunqtest/keys/server_public.pem
	serverPEM    string
	serverKey, _ = bunq.ParsePublicKey(serverPEM)
	credentials  = bunq.Credentials{Token: token, PrivateKey: bunqtest.ClientKey(0), ServerKey: serverKey}
	signer       = bunqtest.New(bunqtest.Options{}) // signs the answers that tests make up

	//go:embed testdata/answers.txt
	answersText  string
	placeholders = strings.NewReplacer("$seven", item(7), "$eight", item(8),
		"$token", `{"Token":{"id":2,"created":"2015-06-13 23:19:16.215235","token":"`+token+`"}}`,
		"$key", fmt.Sprintf(`{"ServerPublicKey":{"server_public_key":%q}}`, serverPEM))
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers yields the lines of a section of answers.txt, each cut into what is expected and the answer.
func answers(section string) iter.Seq2[string, string] {
	return func(yield func(want, answer string) bool) {
		text := strings.SplitN(answersText, "\n# "+section, 2)[1] // panics if there is no such section
		text, _, _ = strings.Cut(text, "\n\n")
		for _, line := range strings.Split(text, "\n")[1:] {
			want, answer, _ := strings.Cut(line, " ")
			yield(want, placeholders.Replace(answer))
		}
	}
}

func signed(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { signer.Answer(w, r, status, []byte(body)) }
}

// unsigned returns what answers as bunq does outside 2xx, with one more header.
func unsigned(status int, name, value, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Bunq-Client-Response-Id", responseID)
		w.Header().Set(name, value)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// item is a device server as bunq writes it.
func item(id int) string {
	const created = "2015-06-13 23:19:16.215235"
	return fmt.Sprintf(`{"DeviceServer":{"id":%d,"created":%q,"updated":%[2]q,"description":"bookkeeping",`+
		`"ip":"192.0.2.7","status":"ACTIVE"}}`, id, created)
}

// connect completes the configuration of a client and returns the client and the calls that it reports.
func connect(t testing.TB, config bunq.Config) (*bunq.Client, *[]bunq.Call) {
	t.Helper()
	var mu sync.Mutex
	var calls []bunq.Call
	config.UserAgent, config.BaseURL = "bunq_exporter/test", cmp.Or(config.BaseURL, bunq.Sandbox.BaseURL())
	config.Observe = func(call bunq.Call) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
	}
	return bunq.NewClient(config), &calls
}

func newClient(t testing.TB, api http.Handler) (*bunq.Client, *[]bunq.Call) {
	return connect(t, bunq.Config{Transport: bunqtest.Transport(api)})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func list(ctx context.Context, client *bunq.Client, with bunq.Credentials) (all []bunq.DeviceServer, err error) {
	for page, err := range client.DeviceServers(ctx, with) {
		if err != nil {
			return all, err
		}
		all = append(all, page.DeviceServers...)
	}
	return all, nil
}

func read(ctx context.Context, client *bunq.Client) error {
	return errorOf(client.DeviceServer(ctx, credentials, 7))
}

// makers make one call each.
var makers = map[bunq.Operation]func(context.Context, *bunq.Client) error{
	bunq.CreateInstallation: func(ctx context.Context, c *bunq.Client) error {
		return errorOf(c.CreateInstallation(ctx, &credentials.PrivateKey.PublicKey))
	},
	bunq.CreateDeviceServer: func(ctx context.Context, c *bunq.Client) error {
		return errorOf(c.CreateDeviceServer(ctx, credentials, bunq.Registration{
			Description: "mine", APIKey: apiKey, PermittedIPs: []string{"*"},
		}))
	},
	bunq.CreateSessionServer: func(ctx context.Context, c *bunq.Client) error {
		return errorOf(c.CreateSession(ctx, credentials, apiKey))
	},
	bunq.ListDeviceServers: func(ctx context.Context, c *bunq.Client) error { return errorOf(list(ctx, c, credentials)) },
	bunq.ReadDeviceServer:  read,
}

func errorOf[T any](_ T, err error) error { return err }

func apiError(t testing.TB, err error) *bunq.Error {
	t.Helper()
	var e *bunq.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, want a *bunq.Error", err)
	}
	return e
}

func expectReason(t testing.TB, err error, want bunq.Reason) {
	t.Helper()
	if !errors.Is(err, want) || bunq.ReasonOf(err) != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// operations are all operations of the client.
var operations = []bunq.Operation{
	bunq.CreateInstallation, bunq.CreateDeviceServer, bunq.CreateSessionServer, bunq.ListDeviceServers,
	bunq.ReadDeviceServer,
}
