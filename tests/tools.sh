#!/bin/sh
# Installs the Debian packages that the tests use, where it may; else says which are missing.
# Arguments: command:package, by default those of the Python tests. The tests that need a browser
# are skipped where there is none, and CI=true installs one.
set -eu
if [ $# -eq 0 ]; then
  set -- nc:netcat-openbsd openssl:openssl setpriv:util-linux tmux:tmux
  browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
  [ "${CI-}" != true ] || [ -n "$browser" ] || set -- "$@" chromium:chromium
fi
missing=""
for tool; do
  command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "the tests need$missing: apt-get install --no-install-recommends$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
  echo "the tests need$missing: install it, as in: sudo apt-get install$missing" >&2
  exit 1
fi
