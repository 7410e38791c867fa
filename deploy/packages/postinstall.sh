#!/bin/sh
set -e
systemd-sysusers bunq_exporter.conf
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart bunq_exporter.service || true # if it runs; the log says why it does not start
fi
