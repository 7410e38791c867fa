#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
if [ "$1" = purge ]; then # of a Debian package
  rm -rf /etc/bunq_exporter /etc/default/bunq_exporter /var/lib/bunq_exporter
  if getent passwd bunq_exporter > /dev/null; then
    userdel bunq_exporter
  fi
fi
