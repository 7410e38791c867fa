package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bunq_exporter/bunq/bunqtest"
)

// load is the clients of a loaded program until ctx ends.
type load struct {
	*process
	ctx     context.Context //nolint:containedctx // for all clients
	clients sync.WaitGroup
	scrapes atomic.Int64
}

// run runs n clients again and again, each with a new connection that is open for at most 30 s.
func (l *load) run(n int, client func(net.Conn)) {
	for range n {
		l.clients.Go(func() {
			for l.ctx.Err() == nil {
				c, err := (&net.Dialer{Control: smallReceiveBuffer}).DialContext(l.ctx, "tcp", l.address())
				if err != nil {
					continue
				}
				stop := context.AfterFunc(l.ctx, func() { _ = c.Close() })
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				client(c)
				stop()
				_ = c.Close()
			}
		})
	}
}

func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
}

func ask(c net.Conn, path string) {
	_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: exporter\r\n\r\n", path)
}

// wait waits for the end of the clients, but no longer than 25 s.
func (l *load) wait() {
	select {
	case <-time.After(25 * time.Second):
	case <-l.ctx.Done():
	}
}

func (l *load) doNotRead(c net.Conn) {
	ask(c, "/metrics")
	l.wait()
}

func (l *load) readSlowly(c net.Conn) {
	ask(c, "/metrics")
	for l.ctx.Err() == nil {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// sendHalf never finishes its headers. The exporter closes the connection.
func (l *load) sendHalf(c net.Conn) {
	_, _ = fmt.Fprintf(c, "GET /metrics HTTP/1.1\r\nHost: exporter\r\nCookie: %s", strings.Repeat("x", 30<<10))
	if _, err := bufio.NewReader(c).ReadString(0); errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Error("a half-open connection is open for 30 s")
	}
}

// stayIdle makes one request and keeps its connection.
func (l *load) stayIdle(c net.Conn) {
	ask(c, "/-/healthy")
	_, _ = c.Read(make([]byte, 1000))
	l.wait()
}

// flood makes requests that are wrong or not for metrics, as fast as it can.
func (l *load) flood(client *http.Client) {
	for i := 0; l.ctx.Err() == nil; i++ {
		request := []string{
			"GET /nothing", "GET /probe?account=unknown", "HEAD /status", "GET /status", "POST /-/reload", "HEAD /metrics",
		}[i%6]
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(l.ctx, method, l.url+path, nil)
		if err != nil {
			l.t.Error(err)
			return
		}
		if response, err := client.Do(r); err == nil {
			_ = response.Body.Close()
		} else if l.ctx.Err() == nil {
			l.t.Errorf("%s: %v", request, err)
		}
	}
}

// scrapeAgain is a well-behaved scraper. Its scrapes are complete, whatever the others do.
func (l *load) scrapeAgain(n int) {
	for l.ctx.Err() == nil {
		status, text, err := call(context.WithoutCancel(l.ctx), http.MethodGet, l.url+"/metrics")
		if got := countRead(text); status != http.StatusOK || err != nil || got != n {
			l.t.Errorf("scrape: status %d, %v, %d device servers, want 200 and %d", status, err, got, n)
		}
		l.scrapes.Add(1)
	}
}

// metric returns one of the exporter's own metrics.
func (p *process) metric(name string) (value float64) {
	_, text, _ := strings.Cut(get(p.t, p.url+"/metrics/exporter"), "\n"+name+" ")
	_, _ = fmt.Sscan(text, &value)
	return value
}

// memory returns VmRSS or VmHWM, the largest VmRSS so far, in MiB.
func (p *process) memory(name string) (kilobytes float64) {
	_, text, _ := strings.Cut(readFile(p.t, fmt.Sprintf("/proc/%d/status", p.Process.Pid)), "\n"+name+":")
	_, _ = fmt.Sscan(text, &kilobytes)
	return kilobytes / 1024
}

// allowFiles allows the program and the test so many open files.
func allowFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Max >= n {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		skip(t, fmt.Sprintf("%d open files are not allowed (%v): use ulimit -n %[1]d", n, err))
	}
}

// TestClientLoad runs clients that misbehave beside scrapers for SOAK, or 25 s.
func TestClientLoad(t *testing.T) {
	allowFiles(t, 12_000)
	duration, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		duration = 25 * time.Second
	}
	const n = 200
	a, configFile := newPopulated(t, n, bunqtest.Options{Unlimited: true})
	p := start(t, "--config.file="+configFile, "--web.enable-lifecycle")
	a.awaitSession(t)
	for range 20 {
		p.scrape()
	}
	goroutines, files, idle := p.metric("go_goroutines"), p.metric("process_open_fds"), p.memory("VmRSS")
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	l := &load{process: p, ctx: ctx}
	l.run(300, l.doNotRead)
	l.run(50, l.readSlowly)
	l.run(300, l.sendHalf)
	l.run(10_000, l.stayIdle)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	for range 2 {
		l.clients.Go(func() { l.flood(client) })
	}
	for range 64 {
		l.clients.Go(func() { l.scrapeAgain(n) })
	}
	l.clients.Wait()
	client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	const margin = 5 // connections and goroutines of the scrapes that ask
	eventually(t, "goroutines and files are back", func() bool {
		return p.metric("go_goroutines") <= goroutines+margin && p.metric("process_open_fds") <= files+margin
	})
	most := p.memory("VmHWM")
	t.Logf("%d scrapes; resident memory: %.0f MiB idle, %.0f MiB at most (%.1f times), %.0f MiB now", l.scrapes.Load(),
		idle, most, most/idle, p.memory("VmRSS"))
	if most > idle+300+10_000*0.03 { // for the clients that do not read, and for the connections
		t.Errorf("%.0f MiB of resident memory under load, %.0f MiB idle", most, idle)
	}
}
