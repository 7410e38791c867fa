// Package bunqtest simulates the bunq API for tests and for the exporter's --demo.
//
// A [Server] performs the handshake, verifies the signatures of requests and signs its responses, applies the rate
// limits, ends sessions, pages lists, binds API keys to an environment and to addresses, and uses bunq's error
// descriptions. It requires only the headers that bunq requires, unless [Options].Strict is set. Where the behavior
// of the real API is not known for certain, [Options] offers each variant. The file openapi.yml describes the API.
package bunqtest
