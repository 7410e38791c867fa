package collector_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"bunq_exporter/bunq"
	"bunq_exporter/collector"
)

// expose makes the series of a reading, and writes them.
func expose(b *testing.B, reading collector.Reading) {
	b.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector.Exposed{Reading: reading})
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	encoder := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			b.Fatal(err)
		}
	}
}

func readingOf(n int) collector.Reading {
	reading := collector.Reading{Answered: true, DeviceServers: map[int64]bunq.DeviceServer{}}
	for i := range n {
		id := int64(i + 1)
		reading.Watched = append(reading.Watched, id)
		reading.DeviceServers[id] = device(id, bunq.StatusActive)
	}
	return reading
}

func BenchmarkExposition(b *testing.B) {
	for _, n := range []int{1, 10, 200, 2400} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			reading := readingOf(n)
			b.ReportAllocs()
			for b.Loop() {
				expose(b, reading)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/device")
		})
	}
}

// BenchmarkVerificationBesideExposition compares what a page of 200 device servers costs in signature and in series.
func BenchmarkVerificationBesideExposition(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	page := make([]byte, 200*190) // as long as bunq's answer
	sum := sha256.Sum256(page)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	reading := readingOf(200)
	var verification, exposition time.Duration
	for b.Loop() {
		start := time.Now()
		sum := sha256.Sum256(page)
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		expose(b, reading)
		verification, exposition = verification+middle.Sub(start), exposition+time.Since(middle)
	}
	b.ReportMetric(float64(verification.Nanoseconds())/float64(b.N), "ns/verification")
	b.ReportMetric(float64(exposition.Nanoseconds())/float64(b.N), "ns/exposition")
	b.ReportMetric(exposition.Seconds()/verification.Seconds(), "×verification")
}
