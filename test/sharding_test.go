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
	const shards = 3
	accounts := []string{"account-0", "account-1", "account-2", "account-3", "account-4", "account-5"}
	a := newAPI(t)
	_, config, _ := strings.Cut(section(t, "deployment.md", "## Several addresses"), "```yaml\n")
	config, _, _ = strings.Cut(config, "```")
	var exporters []*process
	for i := range shards {
		e := start(t, "--config.file="+writeAccounts(t, t.TempDir(), a.url, accounts...))
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
	expect("count(bunq_up == 1)", len(accounts))
	expect("count(count by (account) (bunq_up) == 1)", len(accounts)) // at one exporter each
	expect("count(up == 1)", len(accounts)+shards)

	gone := exporters[1]
	share, err := strconv.Atoi(strings.Join(p.query(t, fmt.Sprintf(`count(bunq_up{instance=~"%s/.*"})`, gone.address())), " "))
	if err != nil || share >= len(accounts) {
		t.Fatalf("an exporter has %d of %d accounts, %v", share, len(accounts), err)
	}
	gone.stop()
	expect(fmt.Sprintf(`count(up{instance=~"%s.*"} == 0)`, gone.address()), share+1)
	expect("count(bunq_up == 1)", len(accounts)-share)
	expect("count(up == 1)", len(accounts)-share+shards-1)
}
