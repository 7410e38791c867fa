#!/usr/bin/env bash
# Writes the manual page, made from the flags.
set -euo pipefail
cd "$(dirname "$0")/../.."
{
  echo '.TH bunq_exporter 1'
  # Without the heading, which has a version of several lines, and with a description of the name.
  go run . --help-man | sed -e '1,/^  tags:/d' \
    -e '0,/^bunq_exporter$/s//bunq_exporter \\- Prometheus exporter for bunq API device servers/'
  cat << 'END'
.SH "ENVIRONMENT"
Each flag can be set as a variable too, such as BUNQ_EXPORTER_LOG_LEVEL for \fB--log.level\fR.
.SH "FILES"
.TP
/etc/bunq_exporter/config.yml
Configuration.
.TP
/etc/bunq_exporter/keys/
API keys, which systemd passes to the service.
.TP
/etc/default/bunq_exporter
Environment variables of the service.
.TP
/var/lib/bunq_exporter/
API contexts. A backup of them is worth having: without its context, an account gets another device server.
.SH "SIGNALS"
SIGHUP reloads the configuration.
END
} | gzip -9n > deploy/packages/bunq_exporter.1.gz
