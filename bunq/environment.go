package bunq

// Environment is one of bunq's two worlds. An API key works in its own only.
type Environment string

// The environments.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox"
)

// BaseURL returns the address of the environment's API, version included, or "" for an environment that bunq does not have.
func (e Environment) BaseURL() string {
	switch e {
	case Production:
		return "https://api.bunq.com/v1"
	case Sandbox:
		return "https://public-api.sandbox.bunq.com/v1"
	}
	return ""
}
