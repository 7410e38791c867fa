#!/bin/sh
# $1 is "remove" for a Debian package and 0 for an RPM package that is removed, and not upgraded.
set -e
case "$1" in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl stop bunq_exporter.socket bunq_exporter.service
    fi
    systemctl disable --quiet bunq_exporter.socket bunq_exporter.service
    ;;
esac
