package test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestFailingFileSystem(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "file systems cannot be mounted: run as root")
	}
	a, n := newSlowAPI(t), trials()
	inParallel(n, func(number int) {
		folder := t.TempDir()
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
			t.Error(err)
			return
		}
		defer unmount(t, folder)
		x := a.newTrial(t, number, folder)
		var repair func()
		e := x.start(func(*process) { repair = breakFileSystem(t, folder) })
		x.scrapeUntil(e, x.happened)
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

// breakFileSystem makes a file system fail in one of three ways.
func breakFileSystem(t *testing.T, folder string) (repair func()) {
	way := rand.IntN(3)
	if way == 0 {
		repair = refuseRenames(t, filepath.Join(folder, "company.conf"))
	}
	if way <= 1 && repair == nil {
		repair = makeReadOnly(folder)
	}
	if repair == nil {
		repair = fill(t, folder)
	}
	return repair
}

func unmount(t *testing.T, target string) {
	t.Helper()
	if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

// refuseRenames mounts a file onto itself, as containers do with single files: it cannot be replaced then. It returns
// nil if there is no file yet.
func refuseRenames(t *testing.T, file string) (repair func()) {
	if err := syscall.Mount(file, file, "", syscall.MS_BIND, ""); err != nil {
		return nil
	}
	return func() { unmount(t, file) }
}

// makeReadOnly returns nil if a file is just being written, and the file system cannot be made read-only.
func makeReadOnly(folder string) (repair func()) {
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return nil
	}
	return func() { _ = syscall.Mount("", folder, "", syscall.MS_REMOUNT, "size=64k") }
}

// fill leaves no space for another file.
func fill(t *testing.T, folder string) (repair func()) {
	path := filepath.Join(folder, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return func() {}
	}
	defer func() { _ = file.Close() }()
	for block := bytes.Repeat([]byte("x"), 4096); err == nil; {
		_, err = file.Write(block)
	}
	return func() { _ = os.Remove(path) }
}
