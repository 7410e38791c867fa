// Package collector shows bunq's device servers, and the calls to bunq's API, as Prometheus metrics.
//
// An [Account] reads bunq when it is scraped and at no other time. [Scrape] makes a collector of accounts for one scrape,
// which ends with that scrape's context.
package collector
