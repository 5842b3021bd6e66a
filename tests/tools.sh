#!/bin/sh
# Installs the Debian packages that the tests use, where it may; else says which are missing.
# Arguments: command:package, by default those of the Python tests.
set -eu
[ $# -gt 0 ] || set -- nc:netcat-openbsd openssl:openssl setpriv:util-linux tmux:tmux \
  chromium:chromium
missing=""
for tool; do
  command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $missing
else
  echo "the tests need$missing: install it, as in: sudo apt-get install$missing" >&2
  exit 1
fi
