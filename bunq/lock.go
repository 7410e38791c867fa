package bunq

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockRetry is how often a lock is tried that another process holds: a login takes longer.
const lockRetry = 50 * time.Millisecond

// lock keeps other processes, and other clients in this one, from logging in with the context file until unlock. It
// waits for them until ctx ends.
func (c *Client) lock(ctx context.Context) (unlock func(), err error) {
	path := resolve(c.config.ContextFile)
	lock := flock.New(path + ".lock")
	locked, err := lock.TryLock() // even if ctx has ended: only then it is known that somebody holds it
	if err == nil && !locked {
		locked, err = lock.TryLockContext(ctx, lockRetry)
	}
	switch {
	case locked:
		removeLeftovers(path)
		return func() { _ = lock.Unlock() }, nil
	case ctx.Err() != nil:
		return nil, &loginError{waiting, fmt.Errorf("another login with %s is under way, of another process or from before a reload: it holds %s", c.config.ContextFile, lock.Path())}
	case c.current().registered: // where there can be no lock there can be no registration either
		return func() {}, nil
	}
	return nil, keepingFailed(c.config.ContextFile, err)
}

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = time.Minute

// removeLeftovers removes the temporary files of processes that were killed while they wrote: there are secrets in them.
func removeLeftovers(path string) {
	const shortest = 12 // of renameio's random numbers, but for one in a million
	folder, prefix := filepath.Dir(path), "."+filepath.Base(path)
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		number, temporary := strings.CutPrefix(entry.Name(), prefix)
		if !temporary || len(number) < shortest || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.Remove(filepath.Join(folder, entry.Name()))
		}
	}
}
