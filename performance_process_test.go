package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq"
	"bunq_exporter/bunq/bunqtest"
	"bunq_exporter/config"
)

// The measurements of whole processes.

// runUnlimited is run without a limiter.
func runUnlimited() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, _, _ := parse(os.Args[1:], os.Stdout, os.Stderr)
	logger, toolkitLogger := newLoggers(o, os.Stderr)
	watched := newWatch(func() (*config.Config, error) { return config.Load(o.configFile) }, logger)
	watched.limiter = &bunq.Limiter{}
	if err := watched.reload(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	return serve(ctx, o, watched, func(net.Addr) {}, logger, toolkitLogger)
}

// watchingProcess returns an exporter without a limiter that watches n device servers, its own among them, and the API.
func watchingProcess(b *testing.B, n int) (*process, *replay) {
	b.Helper()
	api := newPopulated(b, n, bunqtest.Options{Unlimited: true})
	server := newReplay(b, api)
	folder := b.TempDir()
	p := startProcess(b, writeConfig(b, folder, server.url, 1), "unlimited")
	b.Cleanup(p.kill)
	mustFetch(b, p.url+"/metrics")
	var all []int64
	for _, d := range api.DeviceServers() {
		all = append(all, d.ID)
	}
	writeConfig(b, folder, server.url, all...)
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		b.Fatal(err)
	}
	p.stderr.find(b, fmt.Sprintf(`(Configuration loaded.* device_servers=%d)`, n))
	expectFresh(b, mustFetch(b, p.url+"/metrics"), n)
	return p, server
}

func mustFetch(b *testing.B, url string) string {
	b.Helper()
	body, err := fetch(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// resident returns a process's resident memory in MiB, and cpu the CPU time that it has used: Linux alone tells.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	for line := range strings.Lines(readProc(b, pid, "status")) {
		if kilobytes, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(kilobytes), " kB"), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n / 1024
		}
	}
	b.Fatal("there is no VmRSS")
	return 0
}

func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	_, after, _ := strings.Cut(readProc(b, pid, "stat"), ") ") // the name may hold spaces
	fields := strings.Fields(after)
	const userTime, systemTime, perSecond = 11, 12, 100 // proc(5), counted from the state
	user, err := strconv.Atoi(fields[userTime])
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.Atoi(fields[systemTime])
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / perSecond
}

func readProc(b *testing.B, pid int, name string) string {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if os.IsNotExist(err) {
		b.Skip("this measures with Linux's /proc")
	}
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// BenchmarkResidentMemory scrapes 200 device servers 10,000 times in each iteration.
func BenchmarkResidentMemory(b *testing.B) {
	p, _ := watchingProcess(b, 200)
	const hundred = 100
	peak := func(scrapes int) (most float64) {
		for range scrapes / hundred {
			for range hundred {
				mustFetch(b, p.url+"/metrics")
			}
			most = max(most, resident(b, p.Process.Pid))
		}
		return most
	}
	for b.Loop() {
		peak(1000) // the heap settles
		early := peak(1000)
		peak(7000)
		late := peak(1000)
		b.ReportMetric(early, "MiB/scrapes-1000-2000")
		b.ReportMetric(late, "MiB/scrapes-9000-10000")
		b.ReportMetric(late/early, "×early")
		if late > 1.3*early {
			b.Errorf("resident memory grows from %.1f to %.1f MiB", early, late)
		}
	}
}

// stripped builds the program as the Dockerfile does.
func stripped(b *testing.B) (binary string) {
	b.Helper()
	binary = filepath.Join(b.TempDir(), "bunq_exporter")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return binary
}

// BenchmarkStartWithAKeptContext is from the start of the stripped binary to the end of the first scrape.
func BenchmarkStartWithAKeptContext(b *testing.B) {
	binary := stripped(b)
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	api := newPopulated(b, 200, bunqtest.Options{Unlimited: true})
	server := newReplay(b, api)
	configFile := writeConfig(b, b.TempDir(), server.url, 1)
	scrape := func() string {
		p := &process{Cmd: exec.CommandContext(b.Context(), binary, "--config.file="+configFile, "--web.listen-address=127.0.0.1:0"), stderr: newBuffer()}
		p.Stderr = p.stderr
		if err := p.Start(); err != nil {
			b.Fatal(err)
		}
		defer p.kill()
		return mustFetch(b, "http://"+p.stderr.find(b, `address=(127\.0\.0\.1:\d+)`)+"/metrics")
	}
	scrape() // registers, and opens the session
	asked := server.count()
	for b.Loop() {
		expectFresh(b, scrape(), 1)
	}
	if got := server.count() - asked; got != b.N {
		b.Errorf("%d requests for %d starts, want one each", got, b.N)
	}
	if most := 14.4; float64(info.Size())/(1<<20) > most {
		b.Errorf("the binary has %d bytes, want at most %.1f MiB", info.Size(), most)
	}
	b.ReportMetric(float64(server.count()-asked)/float64(b.N), "requests/start")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/start")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}

// jsonExporter names the binary to compare with, of github.com/prometheus-community/json_exporter.
const jsonExporter = "JSON_EXPORTER"

// What a user of it would write: the list's module fits the answer to a single reading too.
const jsonExporterConfig = `modules:
  default:
    headers: {Cache-Control: no-cache, X-Bunq-Language: en_US, X-Bunq-Region: nl_NL, X-Bunq-Geolocation: 0 0 0 0 000}
    metrics:
      - name: device_server
        type: object
        help: Device servers
        path: '{.Response[*].DeviceServer}'
        labels: {id: '{.id}', status: '{.status}', description: '{.description}', ip: '{.ip}', created: '{.created}', updated: '{.updated}'}
        values: {info: 1}
`

// BenchmarkBesideJSONExporter takes turns with json_exporter, which probes one by one, as people use it, and the list, as
// it is at its best. Both ask the same API, without limits; json_exporter is spared the headers that bunq wants anew in
// each request.
func BenchmarkBesideJSONExporter(b *testing.B) {
	binary := os.Getenv(jsonExporter)
	if binary == "" {
		b.Skipf("left out: %s does not name json_exporter's binary", jsonExporter)
	}
	for _, n := range []int{1, 10, 200} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			ours, api := watchingProcess(b, n)
			each, list := startJSONExporter(b, binary), startJSONExporter(b, binary)
			one := api.record(b)
			probe := func(p *process, path string) string {
				return mustFetch(b, p.url+"/probe?module=default&target="+url.QueryEscape(api.url+path))
			}
			ways := []struct {
				name string
				*process
				scrape func()
			}{
				{"bunq_exporter", ours, func() { mustFetch(b, ours.url+"/probe?account=company") }},
				{"one-by-one", each, func() {
					for _, path := range one {
						probe(each, path)
					}
				}},
				{"list", list, func() { probe(list, "/device-server?count=200") }},
			}
			if got := strings.Count(probe(list, "/device-server?count=200"), "\ndevice_server_info{"); got != n {
				b.Fatalf("json_exporter shows %d of %d device servers", got, n)
			}
			wall, used := make([]time.Duration, len(ways)), make([]time.Duration, len(ways))
			for i, way := range ways {
				used[i] = -cpu(b, way.Process.Pid)
			}
			for b.Loop() {
				for i, way := range ways {
					start := time.Now()
					way.scrape()
					wall[i] += time.Since(start)
				}
			}
			for i, way := range ways {
				used[i] += cpu(b, way.Process.Pid)
				b.ReportMetric(float64(wall[i].Microseconds())/float64(b.N), "µs/"+way.name)
				b.ReportMetric(float64(used[i].Microseconds())/float64(b.N), "µs-CPU/"+way.name)
				b.ReportMetric(resident(b, way.Process.Pid), "MiB/"+way.name)
			}
			b.ReportMetric(wall[1].Seconds()/wall[0].Seconds(), "×faster-than-one-by-one")
			b.ReportMetric(wall[2].Seconds()/wall[0].Seconds(), "×faster-than-list")
		})
	}
}

func startJSONExporter(b *testing.B, binary string) *process {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port: json_exporter does not say which one it took
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	configFile := writeFile(b, b.TempDir(), "json_exporter.yml", jsonExporterConfig)
	p := &process{
		Cmd: exec.CommandContext(b.Context(), binary, "--config.file="+configFile, "--web.listen-address="+address),
		url: "http://" + address, stderr: newBuffer(),
	}
	p.Stderr = p.stderr
	if err := p.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.kill)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := fetch(b.Context(), p.url+"/metrics"); err == nil {
			return p
		} else if time.Now().After(deadline) {
			b.Fatalf("json_exporter does not answer: %v\n%s", err, p.stderr)
		}
	}
}
