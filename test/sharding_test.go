package test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Three exporters have the same accounts, and Prometheus is configured as in docs/deployment.md.
func TestShardedExporters(t *testing.T) {
	t.Parallel()
	const shards, accounts = 3, 6
	a := newAPI(t)
	_, config, _ := strings.Cut(section(t, "deployment.md", "## Several addresses"), "```yaml\n")
	config, _, _ = strings.Cut(config, "```")
	var exporters []*process
	for i := range shards {
		folder := t.TempDir()
		_, account, _ := strings.Cut(readFile(t, writeConfig(t, folder, a.url, 4711)), "\n")
		text := "accounts:\n"
		for n := range accounts {
			text += strings.ReplaceAll(account, "company", fmt.Sprintf("account-%d", n))
		}
		e := start(t, "--config.file="+writeFile(t, folder, "config.yml", text))
		config = strings.ReplaceAll(config, fmt.Sprintf("exporter-%d:10059", i), e.address())
		config = strings.ReplaceAll(config, fmt.Sprintf("http://exporter-%d:", i), e.url)
		exporters = append(exporters, e)
	}
	p := startPrometheus(t, "global: {scrape_interval: 4s, scrape_timeout: 3s}\n"+config)
	expect := func(expression string, want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s is %d", expression, want), func() bool {
			return slices.Equal(p.query(t, expression), []string{strconv.Itoa(want)})
		})
	}
	expect("count(bunq_up == 1)", accounts)
	expect("count(count by (account) (bunq_up) == 1)", accounts) // at one exporter each
	expect("count(up == 1)", accounts+shards)

	gone := exporters[1]
	share, err := strconv.Atoi(strings.Join(p.query(t, fmt.Sprintf(`count(bunq_up{instance=~"%s/.*"})`, gone.address())), " "))
	if err != nil || share >= accounts {
		t.Fatalf("an exporter has %d of %d accounts, %v", share, accounts, err)
	}
	gone.stop()
	expect(fmt.Sprintf(`count(up{instance=~"%s.*"} == 0)`, gone.address()), share+1)
	expect("count(bunq_up == 1)", accounts-share)
	expect("count(up == 1)", accounts-share+shards-1)
}
