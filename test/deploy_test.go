package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const composeFolder = "../deploy/compose"

type composeService struct {
	Image, Build            string
	Command, Ports, Volumes []string
}

func readCompose(t *testing.T) map[string]composeService {
	t.Helper()
	var file struct{ Services map[string]composeService }
	if err := yaml.Unmarshal([]byte(readFile(t, composeFolder+"/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

var pinned = regexp.MustCompile(`^docker\.io/[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)

func TestComposeServices(t *testing.T) {
	t.Parallel()
	for name, service := range readCompose(t) {
		if (service.Build == "") != pinned.MatchString(service.Image) {
			t.Errorf("%s: built from %q, image %q, want a folder or a version", name, service.Build, service.Image)
		}
		for _, volume := range service.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			if _, err := os.Stat(filepath.Join(composeFolder, from)); err != nil || !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s: volume %s is writable, or %v", name, volume, err)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to other machines", name, port)
			}
		}
	}
}

func TestComposeExporter(t *testing.T) {
	t.Parallel()
	expectLines(t, start(t, readCompose(t)["exporter"].Command...).scrape(), `bunq_up{account="demo"} 1`)
}

func TestDockerfileFlags(t *testing.T) {
	t.Parallel()
	_, command, _ := strings.Cut(readFile(t, "../Dockerfile"), "\nCMD ")
	args := []string{"--config.check"}
	for flag := range names(command, regexp.MustCompile(`"([^"]+)"`)) {
		args = append(args, flag)
	}
	if code, text := runToEnd(t, args...); code != 1 || !strings.Contains(text, "/etc/bunq_exporter/config.yml") {
		t.Errorf("%q: exit status %d: %s", args, code, text)
	}
}
