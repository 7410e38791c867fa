package bunq

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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

// maxLinks is how many links Linux follows from one to the next.
const maxLinks = 40

// resolve follows links, so that a replaced file does not take the place of a link to it.
func resolve(path string) string {
	for range maxLinks {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			return resolved
		}
		target, err := os.Readlink(path) // to a file that is yet to be made
		folder, badFolder := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil || badFolder != nil {
			return path
		}
		if path = target; !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
	}
	return path
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

// current returns the API context, nil before it was read.
func (c *Client) current() *apiContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.context
}

func (c *Client) readContext() (*apiContext, error) {
	return readContext(c.config.ContextFile, c.config.Environment)
}

// takes takes over a context, and why the file is behind it; nil if it is not.
func (c *Client) takes(next *apiContext, unsaved error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.context, c.unsaved = next, unsaved
}

// behind returns why the file is behind the context in use; nil if it is not.
func (c *Client) behind() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsaved
}

// load reads the context file once, and writes it again where an earlier attempt to write it failed.
func (c *Client) load() (*apiContext, error) {
	if c.current() == nil {
		c.files.Lock()
		defer c.files.Unlock()
		if c.current() != nil {
			return c.current(), nil
		}
		removeLeftovers(resolve(c.config.ContextFile))
		known, err := c.readContext()
		if err != nil {
			return nil, err
		}
		c.takes(known, nil)
	}
	if c.behind() != nil && c.files.TryLock() { // or somebody is at it
		defer c.files.Unlock()
		c.writeOrHold(c.current())
	}
	return c.current(), nil
}

// reread reads the context file again, unless it is behind what is in use, or gone.
func (c *Client) reread() (*apiContext, error) {
	c.files.Lock()
	defer c.files.Unlock()
	if c.behind() != nil {
		return c.current(), nil
	}
	known, err := c.readContext()
	if err != nil {
		return nil, err
	}
	if known.document != nil {
		c.takes(known, nil)
	}
	return c.current(), nil
}

// commit takes over a new context if it can be written.
func (c *Client) commit(next *apiContext) error {
	c.files.Lock()
	defer c.files.Unlock()
	return c.write(next)
}

// keep takes over a new context, and writes it if it can: what bunq has made must not be made twice, and what can be
// read should be. Login tells of the error.
func (c *Client) keep(next *apiContext) {
	c.files.Lock()
	defer c.files.Unlock()
	c.writeOrHold(next)
}

// writeOrHold is keep for a caller that holds c.files.
func (c *Client) writeOrHold(next *apiContext) {
	if err := c.write(next); err != nil && !errors.Is(err, errReplaced) {
		c.takes(next, err)
	}
}

var errReplaced = errors.New("the API context file has been replaced meanwhile, so it is left as it is and used from now on")

// write puts a context into its file and takes it over, unless the file is damaged by now or of another installation: an
// SDK, a person or another process has written it then. The caller holds c.files.
func (c *Client) write(next *apiContext) error {
	there, err := c.readContext()
	switch {
	case err != nil:
		return err
	case there.token != "" && there.token != next.token:
		c.takes(there, nil)
		return errReplaced
	}
	if err := next.write(c.config.ContextFile); err != nil {
		return err
	}
	c.takes(next, nil)
	return nil
}
