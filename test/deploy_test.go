package test

import (
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"bunq_exporter/internal/config"
)

const composeFolder = "../deploy/compose"

type composeService struct {
	Image, Build            string
	Command, Ports, Volumes []string
}

// readCompose returns the services of both files.
func readCompose(t *testing.T) map[string]composeService {
	t.Helper()
	all := map[string]composeService{}
	for _, name := range []string{"compose.yaml", "accounts.yaml"} {
		var file struct{ Services map[string]composeService }
		check(t, yaml.Unmarshal([]byte(readFile(t, filepath.Join(composeFolder, name))), &file))
		for service, content := range file.Services {
			all[name+": "+service] = content
		}
	}
	return all
}

var pinned = regexp.MustCompile(`^docker\.io/[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)

func TestComposeServices(t *testing.T) {
	t.Parallel()
	provider := readFile(t, composeFolder+"/grafana/provisioning/dashboards/bunq.yml")
	prometheus := readFile(t, composeFolder+"/prometheus.yml")
	rules := regexp.MustCompile(`rule_files: \[(\S+)\]`).FindStringSubmatch(prometheus)
	for name, service := range readCompose(t) {
		if (service.Build == "") != pinned.MatchString(service.Image) && name != "accounts.yaml: exporter" {
			t.Errorf("%s: built from %q, image %q, want a folder or a version", name, service.Build, service.Image)
		}
		read := names(strings.Join(service.Command, "\n"), regexp.MustCompile(`--config\.file=(\S+)`))
		switch name {
		case "compose.yaml: grafana":
			maps.Copy(read, names(provider, regexp.MustCompile(`path: (\S+)`)))
		case "compose.yaml: prometheus":
			read[filepath.Join("/etc/bunq_exporter/deploy/compose", rules[1])] = true // beside its configuration
		}
		for _, volume := range service.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			to = strings.TrimSuffix(to, ":ro")
			maps.DeleteFunc(read, func(path string, _ bool) bool { return path == to || filepath.Dir(path) == to })
			if from == "contexts" && !strings.Contains(readFile(t, "../Dockerfile"), "\nVOLUME "+to+"\n") {
				t.Errorf("%s: %s is not the folder of the image", name, volume)
			}
			if from == "./config" || from == "contexts" { // made by the user
				continue
			}
			if _, err := os.Stat(filepath.Join(composeFolder, from)); err != nil || !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s: volume %s is writable, or %v", name, volume, err)
			}
		}
		if len(read) > 0 {
			t.Errorf("%s: no volume has %v", name, read)
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to other machines", name, port)
			}
		}
	}
}

// The commands of all ways to deploy fail for nothing but the missing configuration.
func TestDeployedCommands(t *testing.T) {
	t.Parallel()
	_, image, _ := strings.Cut(readFile(t, "../Dockerfile"), "\nCMD ")
	_, unit, _ := strings.Cut(readFile(t, unitFile), "\nExecStart=/usr/bin/bunq_exporter ")
	unit, _, _ = strings.Cut(unit, "\n")
	for _, args := range [][]string{
		{strings.Trim(image, "[]\"\n")}, strings.Fields(unit), readCompose(t)["accounts.yaml: exporter"].Command,
	} {
		code, text := runToEnd(t, append(args, "--config.check")...)
		if code != 1 || !strings.Contains(text, "/etc/bunq_exporter/config.yml: open ") {
			t.Errorf("%q: exit status %d: %s", args, code, text)
		}
	}
	_, err := config.Load("../deploy/packages/config.yml")
	check(t, err)
}

// Flags, ports, paths and metrics in the files are those of the program.
func TestDeployFilesNameTheProgram(t *testing.T) {
	t.Parallel()
	e := start(t, "--demo")
	_, help := runToEnd(t, "--help")
	known := names(e.scrape(), regexp.MustCompile(`(?m)^# TYPE (\S+)`))
	maps.Copy(known, names(help, regexp.MustCompile(`\$(BUNQ_EXPORTER_[A-Z_]+)`)))
	for flag := range names(help, helpFlag) {
		known["--"+flag] = true
	}
	for _, route := range []string{"/sd", "/status", "/metrics", "/metrics/exporter", "/-/healthy", "/-/ready"} {
		get(t, e.url+route)
		known[route] = true
	}
	packaged := readFile(t, "../.goreleaser.yaml") + readFile(t, "../Dockerfile") + readFile(t, unitFile)
	paths := slices.Collect(maps.Keys(names(packaged, installed)))
	known["10059"] = strings.Contains(help, ":10059")
	pattern := regexp.MustCompile(`(--(?:config|demo|bunq|scrape|log|web\.(?:listen|config|systemd|tele|enable|disable))[.a-z-]*|` +
		`BUNQ_EXPORTER_[A-Z_]+|\bbunq_(?:up|api|device|login|session|account)[a-z_]*|/-/[a-z]+|\b10\d{3}\b)`)
	route, socket := regexp.MustCompile(`:10059(/[a-z/-]+)`), regexp.MustCompile(`ListenStream=(\d+)`)
	hosts, services := regexp.MustCompile(`["/]([a-z]+):\d{4}`), readCompose(t)
	err := filepath.WalkDir("../deploy", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, "compose.yaml") {
			return err // the commands of Compose are tested above
		}
		text := readFile(t, path)
		for _, found := range []set{names(text, pattern), names(text, route), names(text, socket)} {
			for name := range found {
				if !known[name] {
					t.Errorf("%s: the program has no %s", path, name)
				}
			}
		}
		for host := range names(text, hosts) {
			if _, known := services["compose.yaml: "+host]; !known && strings.HasPrefix(path, composeFolder) {
				t.Errorf("%s: there is no service %s", path, host)
			}
		}
		for name := range names(text, installed) {
			inFolder := func(folder string) bool { return strings.HasPrefix(name, folder) }
			isMounted := strings.Contains(path, "/helm/") // and read by the tests of the chart
			if !isMounted && !strings.Contains(packaged, name) && !slices.ContainsFunc(paths, inFolder) {
				t.Errorf("%s: nothing is installed as %s", path, name)
			}
		}
		return nil
	})
	check(t, err)
}

const unitFile = "../deploy/systemd/bunq_exporter.service"

// installed matches the paths of files that are installed.
var installed = regexp.MustCompile(`(/(?:etc|usr|var|run)/[a-z./]*bunq[_-]exporter(?:[a-z./_-]*[a-z_])?)`)

func TestComposeExporterReady(t *testing.T) {
	// As with systemd, which waits until the exporter is ready.
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenPacket("unixgram", path)
	check(t, err)
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	e := start(t, readCompose(t)["compose.yaml: exporter"].Command...)
	expectLines(t, e.scrape(), `bunq_up{account="demo"} 1`)
	message := make([]byte, 100)
	_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
	if n, _, err := socket.ReadFrom(message); err != nil || string(message[:n]) != "READY=1" {
		t.Errorf("%q, %v", message[:n], err)
	}
}
