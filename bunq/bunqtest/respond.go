package bunqtest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// failure is an answer outside 2xx, in bunq's words.
type failure struct {
	status      int
	description string
	retryAfter  time.Duration // 0: not said
}

// field and object are JSON whose key order varies, as bunq's does.
type field struct {
	key   string
	value any
}

type object []field

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, at := range mathrand.Perm(len(o)) { //nolint:gosec // no secret is in the order
		text, err := json.Marshal(o[at].value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", o[at].key, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// one is an object with one key, as the elements of bunq's arrays are.
func one(key string, value any) object { return object{{key, value}} }

// respond answers with a JSON body made of the handler's answer or failure.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, answer any, failed *failure) {
	status := http.StatusOK
	if failed != nil {
		status = failed.status
		answer = one("Error", []any{object{
			{"error_description", failed.description},
			{"error_description_translated", failed.description},
		}})
		if failed.retryAfter > 0 && s.options.RetryAfter {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(failed.retryAfter.Seconds()))))
		}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the simulated API cannot encode its answer", http.StatusInternalServerError)
		return
	}
	s.Answer(w, r, status, body)
}

// Answer writes a body of the caller's with all that belongs to an answer of bunq's, signature included: for tests
// whose bunq says what it should not.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json") // to the letter: clients compare it
	header.Set("X-Bunq-Client-Response-Id", uuid.NewString())
	header.Set("X-Bunq-Client-Request-Id", r.Header.Get("X-Bunq-Client-Request-Id"))
	if s.options.Warning != "" {
		header.Set("X-Bunq-Warning", s.options.Warning)
	}
	unsigned := status == http.StatusTooManyRequests || status == 491 || status >= 500
	if status < 300 || s.options.ErrorsSigned && !unsigned {
		header.Set("X-Bunq-Server-Signature", s.sign(status, header, body))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// sign is the server's side of bunq's two schemes.
func (s *Server) sign(status int, header http.Header, body []byte) string {
	message := body
	if s.options.OlderSignatures {
		var names []string
		for name := range header {
			if strings.HasPrefix(name, "X-Bunq-") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		var head bytes.Buffer
		fmt.Fprintf(&head, "%d\n", status)
		for _, name := range names {
			fmt.Fprintf(&head, "%s: %s\n", name, header.Get(name))
		}
		message = append(append(head.Bytes(), '\n'), body...)
	}
	sum := sha256.Sum256(message)
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "" // no client takes it
	}
	return base64.StdEncoding.EncodeToString(signature)
}
