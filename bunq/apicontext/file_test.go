package apicontext_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/apicontext"
)

// A damaged file holds the only key to a device server that bunq keeps for ever: it is left for a person to look at.
func TestLoadDamagedFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/damaged/*.conf")
	if err != nil || len(files) != 19 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := readFile(t, file)
		path := writeFile(t, text)
		_, err := apicontext.Load(path, bunq.Sandbox)
		got := fmt.Sprintln(err)
		expectGolden(t, strings.Replace(file, ".conf", ".txt", 1), strings.ReplaceAll(got, path, "FILE"))
		if err := newContext(t).Save(path); fmt.Sprintln(err) != got || readFile(t, path) != text {
			t.Errorf("%s: saved: %v", file, err)
		}
		if regexp.MustCompile(`secret|[0-9a-f]{16}|---`).MatchString(got) {
			t.Errorf("the error holds a secret: %s", got)
		}
	}
}

func TestSaveReplacedFile(t *testing.T) {
	path := writeFile(t, readFile(t, python))
	before := readFile(t, path)
	c := newContext(t)
	c.Installation.Token = "another"
	if err := c.Save(path); err == nil || readFile(t, path) != before {
		t.Errorf("the error is %v, and the file is changed: %v", err, readFile(t, path) != before)
	}
}

func TestSaveAtomicAndPrivate(t *testing.T) {
	path := writeFile(t, readFile(t, python))
	before := readFile(t, path)
	link := filepath.Join(t.TempDir(), "link.conf")
	target, err := filepath.Rel(filepath.Dir(link), path)
	check(t, err)
	check(t, os.Symlink(target, link))
	old, err := os.Open(path)
	check(t, err)
	defer func() { _ = old.Close() }()
	check(t, newContext(t).Save(link))
	if text, err := io.ReadAll(old); err != nil || string(text) != before {
		t.Errorf("the old file was written to: %v", err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 || load(t, path).DeviceServerID != 4711 {
		t.Errorf("the file is %v: %v", info, err)
	}
	check(t, os.Remove(path))
	if err := newContext(t).Save(link); err != nil || load(t, path).DeviceServerID != 4711 {
		t.Errorf("saved where the link refers to a missing file: %v", err)
	}
	if got, err := os.Readlink(link); err != nil || got != target {
		t.Errorf("the link points to %q: %v", got, err)
	}
	for _, folder := range []string{filepath.Dir(path), filepath.Dir(link)} {
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Errorf("the folder has %v: %v", entries, err)
		}
	}
}

func TestSaveFails(t *testing.T) {
	plain := writeFile(t, "{}")
	for _, path := range []string{t.TempDir() + "/missing/bunq.conf", "/sys/bunq.conf", plain + "/a.conf", t.TempDir()} {
		first, second := newContext(t).Save(path), newContext(t).Save(path)
		if first == nil || !strings.Contains(first.Error(), path) || first.Error() != second.Error() {
			t.Errorf("%s: the error is %v, then %v", path, first, second)
		}
	}
}

// None of these may make a scrape or the end of the program wait.
func TestReadFile(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	check(t, errors.Join(
		syscall.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("folder"), 0o700), os.Symlink(at("fifo"), at("link")),
		os.WriteFile(at("small"), []byte("12345"), 0o600), os.WriteFile(at("large"), []byte("123456"), 0o600),
	))
	for path, want := range map[string]string{
		at("small"): "", at("fifo"): "regular", at("link"): "regular", at("folder"): "regular", "/dev/zero": "regular",
		at("large"): "larger", at("missing"): "no such file", at("small/x"): "not a directory",
	} {
		text, err := apicontext.ReadFile(path, 5)
		if want == "" && (err != nil || string(text) != "12345") {
			t.Errorf("%s: read %q: %v", path, text, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: the error is %v, want %q", path, err, want)
		}
	}
	if err := newContext(t).Save(at("fifo")); err == nil {
		t.Error("a named pipe is replaced")
	}
}

func TestLock(t *testing.T) {
	path := writeFile(t, readFile(t, python))
	link := filepath.Join(t.TempDir(), "link.conf")
	check(t, os.Symlink(path, link))
	unlock, err := apicontext.Lock(path)
	check(t, err)
	if _, err := apicontext.Lock(link); !errors.Is(err, apicontext.ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	again, err := apicontext.Lock(link)
	check(t, err)
	again()
	if info, err := os.Stat(path + ".lock"); err != nil || info.Mode() != 0o600 {
		t.Errorf("the lock is %v: %v", info, err)
	}
	if _, err := apicontext.Lock(t.TempDir() + "/missing/bunq.conf"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock in a folder that does not exist: %v", err)
	}
}
