package bunq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// readContext reads an API context file of ours or of an SDK. A file that does not exist is an empty context.
func readContext(path string, environment Environment) (*apiContext, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &apiContext{environment: environment}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the API context: %w", err)
	}
	c, err := parseContext(text)
	if err != nil {
		return nil, fmt.Errorf("the API context file %s %w; put a backup in its place, or move it away to register "+
			"a new device server (bunq keeps the old one on the account for ever)", path, err)
	}
	if c.environment == "" {
		c.environment = environment
	}
	if c.environment != environment {
		return nil, fmt.Errorf("the API context file %s is one for %s, but the environment is configured as %s: "+
			"correct the environment, or name another context file", path, c.environment, environment)
	}
	return c, nil
}

// readFile reads a file that nobody else can read or has written.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkAccess(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// checkAccess wants a file to be its owner's alone, and the owner to be the user given. A file of root's may be
// readable for its group too: a container is given one, and cannot own it.
func checkAccess(path string, info fs.FileInfo, user int) error {
	owner, open := int(info.Sys().(*syscall.Stat_t).Uid), fs.FileMode(0o077)
	switch owner {
	case user:
	case 0:
		open = 0o037
	default:
		return fmt.Errorf("%s belongs to the user with the id %d, but this program runs as %d: give the file to that user "+
			"(chown %d), or run this program as its owner", path, owner, user, user)
	}
	if info.Mode().Perm()&open != 0 {
		return fmt.Errorf("%s is open to others (mode %04o), and holds secrets: chmod 600 it", path, info.Mode().Perm())
	}
	return nil
}

// write puts the context into its file: whole or not at all, readable by its owner alone, indented as the Python SDK does.
func (c *apiContext) write(path string) error {
	text, err := json.MarshalIndent(c.document, "", "    ")
	if err != nil {
		return fmt.Errorf("encoding the API context: %w", err)
	}
	if err := replaceFile(resolve(path), append(text, '\n')); err != nil {
		return keepingFailed(path, err)
	}
	return nil
}

// resolve follows links, so that a replaced file does not take the place of a link to it.
func resolve(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	target, err := os.Readlink(path)
	switch { // a link to a file that is yet to be made, or no link
	case err != nil:
		return path
	case filepath.IsAbs(target):
		return target
	}
	return filepath.Join(filepath.Dir(path), target)
}

func keepingFailed(path string, err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause // without the name of the temporary file, which differs from try to try
	}
	advice := "its folder must exist and be writable for this program"
	switch {
	case errors.Is(err, syscall.EBUSY):
		advice = "a file that is mounted by itself cannot be replaced: mount its folder"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		advice = "make room for it"
	}
	return fmt.Errorf("keeping the API context: %s: %w: %s", path, err, advice)
}

// replaceFile is not renameio.WriteFile, which would keep the mode of the file before. When it returns, file and folder
// are on the disk.
func replaceFile(path string, text []byte) error {
	folder := filepath.Dir(path)
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(folder), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems have no such thing
		return err
	}
	return nil
}

// lockRetry is how often a lock is tried that another process holds: a login takes longer.
const lockRetry = 50 * time.Millisecond

// lock keeps other processes, and other clients in this one, from logging in with the context file until unlock. It
// waits for them until ctx ends.
func (c *Client) lock(ctx context.Context) (unlock func(), err error) {
	path := resolve(c.config.ContextFile)
	lock := flock.New(path + ".lock")
	locked, err := lock.TryLockContext(ctx, lockRetry)
	switch {
	case locked:
		removeLeftovers(path)
		return func() { _ = lock.Unlock() }, nil
	case ctx.Err() != nil:
		return nil, &loginError{waiting, fmt.Errorf("another process is logging in with %s: it holds %s", c.config.ContextFile, lock.Path())}
	case c.current().registered: // where there can be no lock there can be no registration either
		return func() {}, nil
	}
	return nil, keepingFailed(c.config.ContextFile, err)
}

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = time.Minute

// removeLeftovers removes the temporary files of processes that were killed while they wrote: there are secrets in them.
func removeLeftovers(path string) {
	folder, prefix := filepath.Dir(path), "."+filepath.Base(path)
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		number, temporary := strings.CutPrefix(entry.Name(), prefix)
		if !temporary || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.Remove(filepath.Join(folder, entry.Name()))
		}
	}
}
