package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestRegistrationSurvivesAFileSystemThatFails(t *testing.T) {
	t.Parallel()
	b, n := newBank(t), tries(t)
	needRoot(t)
	var full, renames, frozen, killed atomic.Int64
	inParallel(n, func(number int) {
		folder := t.TempDir()
		mount(t, "tmpfs", folder, "tmpfs", 0, "size=64k")
		defer unmount(t, folder)
		x := b.newTrial(t, number, folder)
		p := startProcess(t, x.config, "whole")
		var mend func()
		x.expectStrike(func() {
			switch file := filepath.Join(folder, "company.conf"); rand.IntN(3) {
			case 0:
				if mend = refuseRenames(t, file); mend != nil {
					renames.Add(1)
					return
				}
				fallthrough
			case 1:
				if mend = freeze(folder); mend != nil {
					frozen.Add(1)
					return
				}
				fallthrough
			default:
				mend = fill(t, folder)
				full.Add(1)
			}
		})
		for !x.struck() {
			_, _ = fetch(t.Context(), p.url+"/metrics")
			time.Sleep(10 * time.Millisecond)
		}
		x.scrapeUntil(p, never, rand.N(300*time.Millisecond)) // while it fails
		x.checkFile()
		if rand.IntN(2) == 0 {
			mend()
			if !x.scrapeUntil(p, isUp, 2*time.Minute) {
				t.Errorf("trial %d: after the trouble it does not read:\n%s", number, p.stderr)
			}
			p.kill()
		} else {
			p.kill()
			killed.Add(1)
			mend()
		}
		x.finish()
	})
	t.Logf("%d registrations: the file system was full in %d, read-only in %d, refused to rename in %d, and the process was killed meanwhile in %d; exactly one device server each",
		n, full.Load(), frozen.Load(), renames.Load(), killed.Load())
}

// needRoot skips the test where no file system can be mounted. In CI it must be possible.
func needRoot(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "")
	switch {
	case err == nil:
		unmount(t, folder)
	case os.Getenv("CI") == "true":
		t.Fatalf("a tmpfs cannot be mounted: %v", err)
	default:
		t.Skipf("a tmpfs cannot be mounted (%v): run this test as root (sudo make test)", err)
	}
}

func mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, fstype, flags, data); err != nil {
		t.Fatal(err)
	}
}

func unmount(t *testing.T, target string) {
	t.Helper()
	if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

// refuseRenames mounts a file onto itself, as containers are given single files: it cannot be replaced then. It returns
// nil if there is no file yet.
func refuseRenames(t *testing.T, file string) (mend func()) {
	if err := syscall.Mount(file, file, "", syscall.MS_BIND, ""); err != nil {
		return nil
	}
	return func() { unmount(t, file) }
}

// freeze makes a file system read-only. It returns nil if that is refused, as it is while a file is being written.
func freeze(folder string) (mend func()) {
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return nil
	}
	return func() { _ = syscall.Mount("", folder, "", syscall.MS_REMOUNT, "size=64k") }
}

// fill leaves no room for another file's content.
func fill(t *testing.T, folder string) (mend func()) {
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
