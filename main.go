// Command bunq_exporter is a Prometheus exporter for the status of bunq API device servers.
package main

import "bunq_exporter/internal/app"

func main() { app.Main() }
