// Package bunq reads device servers from the bunq API.
//
// It does what a program needs before it may read anything: it installs itself, registers one device server, opens
// sessions and keeps all of it in an API context file of the layout that bunq's own SDKs use. Every answer is verified
// against bunq's public key before it is parsed. The package knows nothing of metrics; [Config.Observe] tells a caller
// of every API call.
package bunq
