package bunqtest

import "time"

// Options select among the possible behaviors of the real API. The zero value is the most likely one.
type Options struct {
	// Strict requires everything that bunq's documentation asks for: the content type, valid values of all headers, a
	// new request id for each request of an installation, and no unknown fields in a body.
	Strict bool

	InstallationTokenReads    Reads         // what the token of an installation may read
	BareInstallationRefused   bool          // an installation without a device server may not read
	OwnInstallationOnly       bool          // the list is of the installation's device servers, not of the user's
	AlreadyExists             bool          // a second device server of an installation is refused
	UnknownTokenForbidden     bool          // the response to an unknown token is 403, not 401
	ReadsRefusedAsCredentials bool          // of a refused device server: reads get 400, the session stays open
	UseExtendsSession         bool          // the timeout of a session starts again with each use
	RegistrationSigned        bool          // POST /device-server requires a signature
	OlderSignatures           bool          // signatures of responses cover the status and the headers too
	ErrorsSigned              bool          // errors are signed, except 429, 491 and 5xx
	RetryAfter                bool          // a 429 has a Retry-After header
	Penalty                   time.Duration // after a 429, every request is refused for this long

	Unlimited bool   // disables the rate limits
	Warning   string // X-Bunq-Warning of every response
}

// Reads are the reads that the token of an installation permits.
type Reads int

// The values of Options.InstallationTokenReads.
const (
	ReadsListAndOne Reads = iota
	ReadsList
	ReadsNothing
)
