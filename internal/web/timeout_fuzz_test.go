package web

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func FuzzScrapeTimeout(f *testing.F) {
	for _, header := range []string{"10", "0.000000001", "-0", "NaN", "+Inf", "1e400", "9223372037", "1h", "1m", "1m1"} {
		f.Add(header, int64(500*time.Millisecond))
	}
	f.Fuzz(func(t *testing.T, header string, offset int64) {
		h := &Handler{Options: Options{TimeoutOffset: time.Duration(max(0, offset))}} // a flag that is not negative
		r := &http.Request{Header: http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {header}}}
		got := h.scrapeTimeout(r)
		asked, err := strconv.ParseFloat(header, 64)
		isNothing := asked > 0 && asked < 2e-9 // no scraper waits for that
		if got < 0 || got > 10*time.Minute || got == 0 && !isNothing || asked > 1e-9 && got.Seconds() > asked ||
			err != nil && asked == 0 && got < 5*time.Second {
			t.Errorf("%q less %s is %s", header, h.TimeoutOffset, got)
		}
	})
}
