package apicontext

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/gofrs/flock"

	"bunq_exporter/bunq"
)

// maxFile bounds a context file, in bytes: a user object of bunq has some kilobytes.
const maxFile = 4 << 20

// ErrReplaced reports that the file holds another installation than the context to save.
var ErrReplaced = errors.New("holds another installation")

// ReadFile reads a regular file of at most limit bytes. It does not wait, as opening a named pipe would.
func ReadFile(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, fmt.Errorf("%s is not a regular file", path))
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, err
}

// Load reads the context file of this program or an SDK. A file that does not exist is an empty context. A damaged
// file and one of another environment are errors that say what to do.
func Load(path string, environment bunq.Environment) (*Context, error) {
	text, err := ReadFile(path, maxFile)
	if errors.Is(err, os.ErrNotExist) {
		return &Context{Environment: environment}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading API context: %w", err)
	}
	c, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading API context: %s %w: restore a backup, or move the file away to register a new "+
			"device server (bunq keeps the old one)", path, err)
	}
	if c.Environment = cmp.Or(c.Environment, environment); c.Environment != environment {
		return nil, fmt.Errorf("reading API context: %s belongs to environment %q: correct the environment (%q) or the file",
			path, c.Environment, environment)
	}
	return c, nil
}

// Exists reports whether the context was read from a file.
func (c *Context) Exists() bool { return c.document != nil }

// Save replaces the file: atomically, on disk when it returns, readable by its owner alone. A damaged file and one of
// another installation are left as they are.
func (c *Context) Save(path string) error {
	there, err := Load(path, c.Environment)
	if err != nil {
		return err
	}
	if there.Installation.Token != "" && there.Installation.Token != c.Installation.Token {
		return fmt.Errorf("saving API context: %s: %w", path, ErrReplaced)
	}
	if err = replaceFile(Resolve(path), c.encode()); err == nil {
		return nil
	}
	cause := cmp.Or(errors.Unwrap(err), err) // without the name of the temporary file, which differs from try to try
	return fmt.Errorf("saving API context: %s: %w: its folder must exist, be writable and have space, and the file must "+
		"not be a mount of its own", path, cause)
}

// replaceFile writes a temporary file beside the old one and renames it.
func replaceFile(path string, text []byte) error {
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, "."+filepath.Base(path)+"*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // does nothing once it is renamed
	_, err = file.Write(text)
	if err := cmp.Or(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil || runtime.GOOS == "windows" { // where folders cannot be synced
		return err
	}
	parent, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := parent.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems do not support it
		return err
	}
	return nil
}

// Resolve follows symbolic links, also to a file that does not exist yet: a link stays, and the file that it refers to
// is written.
func Resolve(path string) string {
	for range 40 { // links: as many as Linux follows
		if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(folder, filepath.Base(path))
		}
		target, err := os.Readlink(path)
		if err != nil { // not a link
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

// ErrLocked reports that another login holds the lock.
var ErrLocked = errors.New("in use by another login")

// Lock prevents other processes, and other accounts of this one, from logging in with the context file until unlock.
// It does not wait. The SDKs do not know this lock. Without a lock, unlock does nothing.
func Lock(path string) (unlock func(), err error) {
	flags := flock.SetFlag(os.O_CREATE | os.O_RDWR | syscall.O_NONBLOCK)
	lock := flock.New(Resolve(path)+".lock", flags, flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if !locked {
		err = fmt.Errorf("locking API context: %s: %w", lock.Path(), cmp.Or(errors.Unwrap(err), err, ErrLocked))
	}
	return func() { _ = lock.Unlock() }, err
}
