//go:build unix

package config

import "golang.org/x/sys/unix"

// writable returns an error unless the program may create files in the folder.
func writable(folder string) error { return unix.Access(folder, unix.W_OK|unix.X_OK) }
