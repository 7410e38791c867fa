// Package bunq is a client of the bunq API, as far as it concerns device servers.
//
// Each method of [Client] makes one API call with the credentials it is given and returns a typed answer. The client
// signs requests, verifies answers and keeps within bunq's rate limits. It reads no files, starts no goroutines, does
// not retry and does not log in: that is the task of package session.
package bunq
