package bunq_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What bunq's SDKs write, each with its own order of keys, indentation and escapes. Most leave out a proxy that is not
// set: here it is, so that there is something to survive a login.
const (
	pythonFile = `{
    "api_key": {{json .APIKey}},
    "environment_type": "SANDBOX",
    "installation_context": {
        "private_key_client": {{json (trim .PrivateKey)}},
        "public_key_client": {{json (trim .PublicKey)}},
        "public_key_server": {{json (trim .ServerKey)}},
        "token": {{json .Token}}
    },
    "proxy_url": "http://proxy.example:3128",
    "session_context": {
        "expiry_time": "{{.Ends}}",
        "token": {{json .Session}},
        "user_id": 1{{if .User}},
        "user_person": {
            "display_name": "A. User",
            "id": 1,
            "session_timeout": 604800
        }{{end}}
    }
}`
	javaFile = `{
  "environment_type": "SANDBOX",
  "api_key": {{json .APIKey}},
  "installation_context": {
    "token": {{json .Token}},
    "public_key_client": {{json (oneLine .PublicKey)}},
    "private_key_client": {{json (oneLine .PrivateKey)}},
    "public_key_server": {{json (oneLine .ServerKey)}}
  },
  "session_context": {
    "token": {{json .Session}},
    "expiry_time": "{{milliseconds .Ends}}"{{if .UserID}},
    "user_id": 1{{end}}{{if .User}},
    "user_person": {
      "id": 1,
      "display_name": "A. User",
      "session_timeout": 604800
    }{{end}}
  }{{if .UserID}},
  "proxy": "proxy.example:3128"{{end}}
}`
	phpFile = `{
    "api_key": {{escaped .APIKey}},
    "environment_type": "SANDBOX",
    "installation_context": {
        "token": {{escaped .Token}},
        "private_key_client": {{escaped .PrivateKey}},
        "public_key_client": {{escaped .PublicKey}},
        "public_key_server": {{escaped .ServerKey}}
    },
    "proxy_url": null,
    "session_context": {
        "token": {{escaped .Session}},
        "expiry_time": "{{.Ends}}",
        "user_id": 1,
        "userCompany": null,
        "userPerson": {
            "id": 1,
            "display_name": "A. User",
            "session_timeout": 604800
        },
        "userApiKey": null,
        "userPaymentServiceProvider": null
    }
}`
	csharpFile = "\ufeff" + `{
  "environment_type": "SANDBOX",
  "api_key": {{json .APIKey}},
  "installation_context": {
    "token": {{json .Token}},
    "public_key_client": {{json .PublicKey}},
    "private_key_client": {{json .PrivateKey}},
    "public_key_server": {{json .ServerKey}}
  },
  "session_context": {
    "token": {{json .Session}},
    "expiry_time": "{{.Ends}}",
    "user_id": 1{{if .User}},
    "user_person": {
      "id": 1,
      "display_name": "A. User",
      "session_timeout": 604800
    }{{end}}
  },
  "proxy": "http://proxy.example:3128"
}`
)

// layout is the file of some edition of an SDK. docs/context-file.md names each.
type layout struct {
	name         string
	file         string
	userID, user bool // what the edition keeps of the user
}

func layouts() []layout {
	return []layout{
		{"Python", pythonFile, true, true},
		{"Python without user objects", pythonFile, true, false},
		{"Java", javaFile, true, true},
		{"Java without user objects", javaFile, true, false},
		{"Java without user_id", javaFile, false, false},
		{"PHP", phpFile, true, true},
		{"PHP with a PKCS#1 key", strings.Replace(phpFile, ".PrivateKey", "(pkcs1 .PrivateKey)", 1), true, true},
		{"C#", csharpFile, true, true},
		{"C# on Windows", strings.ReplaceAll(csharpFile, "\n", "\r\n"), true, true},
		{"C# without user objects", csharpFile, true, false},
	}
}

// text returns the file, made of what the handshake with the bank has given. The session in it ends when it is told.
func (l layout) text(t *testing.T, ends time.Time) string {
	t.Helper()
	file, err := template.New(l.name).Funcs(template.FuncMap{
		"json": quoted, "trim": strings.TrimSpace, "oneLine": oneLine, "pkcs1": pkcs1,
		"escaped": func(s string) string { return strings.ReplaceAll(quoted(s), "/", `\/`) },
		"milliseconds": func(s string) string { // in six digits: what the pattern SSSSSS makes of them
			second, fraction, _ := strings.Cut(s, ".")
			return second + ".000" + fraction[:3]
		},
	}).Parse(l.file)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := file.Execute(&text, map[string]any{
		"APIKey": apiKey, "UserID": l.userID, "User": l.user, "Ends": ends.Format(localTime),
		"Token":      contextValue(t, "installation_context", "token"),
		"PrivateKey": contextValue(t, "installation_context", "private_key_client"),
		"PublicKey":  contextValue(t, "installation_context", "public_key_client"),
		"ServerKey":  contextValue(t, "installation_context", "public_key_server"),
		"Session":    contextValue(t, "session_context", "token"),
	}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// localTime is the SDKs' expiry_time.
const localTime = "2006-01-02 15:04:05.000000"

func quoted(s string) string {
	text, _ := json.Marshal(s) // a string can always be encoded
	return string(text)
}

// oneLine returns a PEM block with all of its base64 in one line.
func oneLine(text string) string {
	block, _ := pem.Decode([]byte(text))
	return "-----BEGIN " + block.Type + "-----\n" + base64.StdEncoding.EncodeToString(block.Bytes) + "\n-----END " + block.Type + "-----\n"
}

// pkcs1 returns a key in the older of its two forms.
func pkcs1(text string) (string, error) {
	block, _ := pem.Decode([]byte(text))
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})), nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key.(*rsa.PublicKey))})), nil
}

// oddity is a file that no SDK is known to write, and that must be read all the same.
type oddity struct {
	name    string
	changed changes
	open    bool // whether the session can be used
}

func oddities(t *testing.T) []oddity {
	t.Helper()
	const privateKey, serverKey = "installation_context.private_key_client", "installation_context.public_key_server"
	private, server := contextValue(t, "installation_context", "private_key_client"), contextValue(t, "installation_context", "public_key_server")
	older, err := pkcs1(server)
	if err != nil {
		t.Fatal(err)
	}
	bare := func(text string) string { return strings.Split(oneLine(text), "\n")[1] }
	windows := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	return []oddity{
		{"a private key in bare base64", changes{privateKey: bare(private)}, true},
		{"keys in bare base64", changes{privateKey: bare(private), serverKey: bare(server)}, true},
		{"keys with the line ends of Windows", changes{privateKey: windows(private), serverKey: windows(server)}, true},
		{"a server key in PKCS#1", changes{serverKey: older}, true},
		{"no environment", changes{"environment_type": nil}, true},
		{"no session", changes{"session_context": nil}, false},
		{"a session that is null", changes{"session_context": json.RawMessage("null")}, false},
		{"a session of another kind", changes{"session_context": "none"}, false},
		{"a session without a token", changes{"session_context.token": nil}, false},
		{"a session whose token is null", changes{"session_context.token": json.RawMessage("null")}, false},
		{"a session without an end", changes{"session_context.expiry_time": nil}, false},
		{"a session whose end cannot be read", changes{"session_context.expiry_time": "tomorrow"}, false},
		{"a session whose end is a number", changes{"session_context.expiry_time": 1434237556}, false},
		{"a session that has ended", changes{"session_context.expiry_time": "1999-12-31 23:59:59.999999"}, false},
	}
}

func TestContextFileOfEverySDKIsReadWithoutRegisteringAnew(t *testing.T) {
	t.Parallel()
	run := func(name string, open bool, text func(t *testing.T, ends time.Time) string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ends := time.Now().Add(time.Hour + 215*time.Millisecond)
				usedAndRenewed(t, text(t, ends), ends, open)
			})
		})
	}
	for _, l := range layouts() {
		run(l.name, true, l.text)
	}
	for _, o := range oddities(t) {
		run(o.name, o.open, func(t *testing.T, ends time.Time) string {
			return edited(t, []byte(contextWith(t, changes{"session_context.expiry_time": ends.Format(localTime)})), o.changed)
		})
	}
}

// usedAndRenewed reads with a file until its session, which may be open, has ended, and wants one login, and nothing else
// in the file to change.
func usedAndRenewed(t *testing.T, text string, ends time.Time, open bool) {
	t.Helper()
	api := count(bank().api)
	config := restartConfig(t, api, text)
	config.APIKey = nil // the file has it too
	client := newClient(t, config)
	if open {
		mustRead(t, client)
		if posts, _ := api.seen("POST"); posts != nil {
			t.Errorf("with a session it sent %q", posts)
		}
		if got := client.Login().SessionExpiry; !got.Truncate(time.Second).Equal(ends.Truncate(time.Second)) {
			t.Errorf("the session ends at %s, want %s", got, ends)
		}
		time.Sleep(time.Until(ends))
	}
	mustRead(t, client)
	renewed := time.Now()
	time.Sleep(time.Minute)
	mustRead(t, newClient(t, config)) // a restart, with what was written
	posts, _ := api.seen("POST")
	if diff := cmp.Diff([]string{"POST /v1/session-server"}, posts); diff != "" {
		t.Errorf("requests without a session, -want +sent:\n%s", diff)
	}
	expectRenewed(t, readDocument(t, []byte(strings.TrimPrefix(text, "\ufeff"))), readContextFile(t, config), renewed)
}

// expectRenewed wants the session of a login at the time given, and everything else as before.
func expectRenewed(t *testing.T, before, after map[string]any, renewed time.Time) {
	t.Helper()
	session, _ := after["session_context"].(map[string]any)
	user := map[string]any{"id": 1.0, "display_name": "A. User", "session_timeout": 604800.0}
	want := map[string]any{
		"token": session["token"], "user_id": 1.0, "user_person": user, "userPerson": user,
		// TestMain puts this program two and a half hours east of UTC.
		"expiry_time": renewed.UTC().Add(7*24*time.Hour + 2*time.Hour + 30*time.Minute).Truncate(time.Second).Format(localTime),
	}
	if diff := cmp.Diff(want, session); diff != "" {
		t.Errorf("the session, -want +written:\n%s", diff)
	}
	if token, ok := session["token"].(string); !ok || token == "" || token == contextValue(t, "session_context", "token") {
		t.Errorf("the session's token is %v, want a new one", session["token"])
	}
	expectSameButSession(t, before, after)
}

// What TestContextFileIsTheSDKs does not say. The Java and the C# SDK cut the first and the last line of a key away as
// text, line ends included, and know PKCS#8 and SubjectPublicKeyInfo alone.
func TestKeysInTheContextFileAreAsTheSDKsReadThem(t *testing.T) {
	t.Parallel()
	parsed := map[string]any{}
	for name, parse := range map[string]func([]byte) (any, error){
		"private_key_client": x509.ParsePKCS8PrivateKey, "public_key_client": x509.ParsePKIXPublicKey, "public_key_server": x509.ParsePKIXPublicKey,
	} {
		text := contextValue(t, "installation_context", name)
		if !regexp.MustCompile("^-----BEGIN (PRIVATE|PUBLIC) KEY-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END (PRIVATE|PUBLIC) KEY-----\n$").MatchString(text) {
			t.Errorf("%s is not framed as PEM of the newer kind", name)
		}
		block, _ := pem.Decode([]byte(text))
		key, err := parse(block.Bytes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		parsed[name] = key
	}
	if private, ok := parsed["private_key_client"].(*rsa.PrivateKey); !ok || !private.PublicKey.Equal(parsed["public_key_client"]) {
		t.Error("private_key_client and public_key_client are no pair")
	}
	if contextValue(t, "installation_context", "token") == "" {
		t.Error("the installation's token is empty")
	}
}

func TestDocumentNamesTheTestOfEverySDKsFile(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/context-file.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, l := range layouts() {
		want = append(want, l.name)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (?:Python|Java|PHP|C#).* \\| `(.+)` \\|$").FindAllSubmatch(document, -1) {
		got = append(got, string(row[1]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subtests, -run +in the document:\n%s", diff)
	}
	for _, key := range []string{"device_server_id", "device_server_requested", "installation_created", "session_requested"} {
		if !strings.Contains(string(document), "\n| `"+key+"` |") {
			t.Errorf("the document lacks %s", key)
		}
	}
}
