package test

import (
	"cmp"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq/apicontext"
)

func TestFailingFileSystem(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "file systems cannot be mounted: run as root")
	}
	n := trials(1, func() {
		folder := t.TempDir()
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
			t.Error(err)
			return
		}
		defer unmount(t, folder)
		x := newTrial(t, folder)
		var repair func()
		e := x.launchUntil(func(*process) { repair = breakFileSystem(t, folder) })
		end := time.Now().Add(rand.N(3 * time.Second)) // the file is tried every two seconds
		x.scrapeUntil(e, func() bool { return time.Now().After(end) })
		x.readContext()
		if rand.IntN(2) == 0 {
			repair()
			x.expectUp(e)
			e.kill()
		} else {
			e.kill()
			repair()
		}
		x.finish()
	})
	t.Logf("%d registrations with a full or read-only file system or without renames; one device server each", n)
}

func unmount(t *testing.T, target string) {
	t.Helper()
	if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

// breakFileSystem makes a file system fail in one of three ways.
func breakFileSystem(t *testing.T, folder string) (repair func()) {
	file, filler := filepath.Join(folder, "company.conf"), filepath.Join(folder, "filler")
	remount := func(flags uintptr) error {
		return syscall.Mount("", folder, "", syscall.MS_REMOUNT|flags, "size=64k")
	}
	switch way := rand.IntN(3); {
	// A file that is mounted onto itself, as containers do with single files, cannot be replaced. It may not exist yet.
	case way == 0 && syscall.Mount(file, file, "", syscall.MS_BIND, "") == nil:
		return func() { unmount(t, file) }
	// A file system cannot be made read-only while a file is written.
	case way <= 1 && remount(syscall.MS_RDONLY) == nil:
		return func() { _ = remount(0) }
	}
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Error("the file system has space for a file larger than itself")
	}
	return func() { _ = os.Remove(filler) }
}

// fileFaults are the faults of the exporter's files.
var fileFaults = []fault{
	{name: "context file deleted", running: true, files: replace("company.conf", nothing)},
	{name: "context file empty", running: true, files: replace("company.conf", text(""))},
	{name: "context file cut off", running: true, files: replace("company.conf", text(`{"api_key":"sand`))},
	{name: "context file of another environment", running: true, files: replace(
		"company.conf", changed("SANDBOX", "PRODUCTION"))},
	{name: "context file of another installation", running: true, files: replace(
		"company.conf", changed(`"token": "`, `"token": "x`))},
	{name: "context file a link", running: true, files: replace("company.conf", link(".before"))},
	{name: "context file a link to nothing", running: true, files: replace("company.conf", link(".gone"))},
	{name: "context file a mount of its own", running: true, files: mountItself},
	{name: "context file a folder", files: replace("company.conf", folder)},
	{name: "context file a named pipe", files: replace("company.conf", pipe)},
	{name: "context file locked", files: func(t *testing.T, folder string) (repair func()) {
		unlock, err := apicontext.Lock(filepath.Join(folder, "company.conf"))
		if err != nil {
			t.Error(err)
		}
		return unlock
	}},
	{name: "lock file a named pipe", files: replace("company.conf.lock", pipe)},
	{name: "file system full", files: fill},
	{name: "file system read-only", files: makeReadOnly},
	{name: "key file deleted", files: replace("api_key", nothing)},
	{name: "key file empty", files: replace("api_key", text(""))},
	{name: "key file with another key", files: replace("api_key", text("sandbox_another"))},
	{name: "key file of 70 kB", files: replace("api_key", text(strings.Repeat("x", 70_000)))},
	{name: "key file a named pipe", files: replace("api_key", pipe)},
}

// replace puts something else in the place of a file.
func replace(name string, put func(path string) error) func(*testing.T, string) func() {
	return func(t *testing.T, folder string) (repair func()) {
		path := filepath.Join(folder, name)
		_ = os.Rename(path, path+".before") // there may be none
		check(t, put(path))
		return func() {
			_ = os.Remove(path)
			_ = os.Rename(path+".before", path)
		}
	}
}

func nothing(string) error { return nil }

func text(text string) func(path string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

// changed puts a copy with a change.
func changed(from, to string) func(path string) error {
	return func(path string) error {
		before, err := os.ReadFile(path + ".before")
		return cmp.Or(err, text(strings.ReplaceAll(string(before), from, to))(path))
	}
}

func link(suffix string) func(path string) error {
	return func(path string) error { return os.Symlink(path+suffix, path) }
}

func folder(path string) error { return os.Mkdir(path, 0o700) }

func pipe(path string) error { return syscall.Mkfifo(path, 0o600) }

// mountItself mounts the context file onto itself, as containers do with single files: it cannot be replaced then.
func mountItself(t *testing.T, folder string) (repair func()) {
	file := filepath.Join(folder, "company.conf")
	if err := syscall.Mount(file, file, "", syscall.MS_BIND, ""); err != nil {
		t.Error(err)
	}
	return func() { unmount(t, file) }
}

func makeReadOnly(t *testing.T, folder string) (repair func()) {
	remount := func(flags uintptr) {
		if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|flags, "size=128k"); err != nil {
			t.Error(err)
		}
	}
	remount(syscall.MS_RDONLY)
	return func() { remount(0) }
}

func fill(t *testing.T, folder string) (repair func()) {
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Error("the file system has space for a file larger than itself")
	}
	return func() { _ = os.Remove(filler) }
}
