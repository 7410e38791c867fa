package collector

import (
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"bunq_exporter/bunq"
)

func BenchmarkExpositionOf200(b *testing.B) {
	result := Result{Answered: true, DeviceServers: map[int64]bunq.DeviceServer{}}
	for id := int64(1); id <= 200; id++ {
		result.Watched = append(result.Watched, id)
		result.DeviceServers[id] = bunq.DeviceServer{
			ID: id, Created: time.Now(), Updated: time.Now(), Description: "server", IP: "192.0.2.7", Status: "ACTIVE",
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.CollectorFunc(func(ch chan<- prometheus.Metric) {
		collectResult(ch, label("account", "company"), result)
	}))
	b.ReportAllocs()
	for b.Loop() {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(io.Discard, family); err != nil {
				b.Fatal(err)
			}
		}
	}
}
