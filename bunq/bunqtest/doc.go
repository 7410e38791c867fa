// Package bunqtest simulates the bunq API: for tests, and for the exporter's --demo.
//
// It is as strict as the real one: it wants every header, verifies what clients sign, signs what it answers, takes a
// request id once, applies the rate limits, ends sessions, pages lists, binds keys to environments and addresses, and
// fails in bunq's words. What nobody outside bunq knows for sure is an option of [Options]. openapi.yml beside this file
// describes what it serves.
package bunqtest
