package test

import (
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
