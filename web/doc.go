// Package web answers HTTP: metrics for Prometheus, service discovery, the lifecycle, and a page for people.
package web
