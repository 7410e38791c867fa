package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const composeFolder = "deploy/compose"

type composeService struct {
	Image, Build            string
	Command, Ports, Volumes []string
	Environment             map[string]string
}

func readCompose(t *testing.T) map[string]composeService {
	t.Helper()
	var file struct{ Services map[string]composeService }
	readYAML(t, filepath.Join(composeFolder, "compose.yaml"), &file)
	if len(file.Services) != 4 {
		t.Fatalf("%d services, want exporter, Prometheus, Alertmanager and Grafana", len(file.Services))
	}
	return file.Services
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

var pinned = regexp.MustCompile(`^docker\.io/[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)

func TestComposeStartsWhatIsThereForThisMachineOnly(t *testing.T) {
	for name, service := range readCompose(t) {
		if (service.Build == "") != pinned.MatchString(service.Image) {
			t.Errorf("%s: built from %q, image %q, want a folder or a version", name, service.Build, service.Image)
		}
		paths := []string{service.Build}
		for _, volume := range service.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			paths = append(paths, from)
			if !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s can write %s", name, from)
			}
		}
		for _, path := range paths {
			if _, err := os.Stat(filepath.Join(composeFolder, path)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s can be reached from elsewhere", name, port)
			}
		}
	}
}

func TestComposeStartsTheExporterWithFlagsThatItHas(t *testing.T) {
	exporter := readCompose(t)["exporter"]
	var stderr bytes.Buffer
	o, done, _ := parse(exporter.Command, &stderr, &stderr)
	if done || !o.demo {
		t.Errorf("%q: %s", exporter.Command, &stderr)
	}
	if address := (*o.web.WebListenAddresses)[0]; len(exporter.Ports) != 1 || !strings.HasSuffix(exporter.Ports[0], address) {
		t.Errorf("ports %q, but it listens on %s", exporter.Ports, address)
	}
}

func TestComposeConfiguresPrometheus(t *testing.T) {
	// The rules are beside the configuration, where compose mounts them.
	folder := t.TempDir()
	for _, volume := range readCompose(t)["prometheus"].Volumes {
		from, to, _ := strings.Cut(volume, ":")
		text, err := os.ReadFile(filepath.Join(composeFolder, from))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, folder, filepath.Base(strings.TrimSuffix(to, ":ro")), string(text))
	}
	promtool(t, folder, "check", "config", "prometheus.yml")
}

func TestComposeShowsTheOverviewInGrafana(t *testing.T) {
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	var sources struct {
		Datasources []struct {
			Type, URL string
			IsDefault bool `yaml:"isDefault"`
		}
	}
	readYAML(t, filepath.Join(composeFolder, "grafana/provisioning/dashboards/bunq.yml"), &dashboards)
	readYAML(t, filepath.Join(composeFolder, "grafana/provisioning/datasources/prometheus.yml"), &sources)
	path, grafana := dashboards.Providers[0].Options.Path, readCompose(t)["grafana"]
	if home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; home != path+"/bunq-overview.json" {
		t.Errorf("Grafana begins with %s, but the dashboards are in %s", home, path)
	}
	for from, to := range map[string]string{
		"../../dashboards": path, "./grafana/provisioning/dashboards": "/etc/grafana/provisioning/dashboards",
		"./grafana/provisioning/datasources": "/etc/grafana/provisioning/datasources",
	} {
		if !slices.Contains(grafana.Volumes, from+":"+to+":ro") {
			t.Errorf("%q: %s is not mounted at %s", grafana.Volumes, from, to)
		}
	}
	if s := sources.Datasources[0]; s.Type != "prometheus" || s.URL != "http://prometheus:9090" || !s.IsDefault {
		t.Errorf("data source %+v", s)
	}
}
