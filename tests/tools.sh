#!/bin/sh
# Installs the Debian packages that the tests use, where it may; else says which are missing.
set -eu
missing=""
command -v nc >/dev/null || missing="$missing netcat-openbsd"
command -v openssl >/dev/null || missing="$missing openssl"
command -v tmux >/dev/null || missing="$missing tmux"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $missing
else
  echo "the tests need$missing: install it, as in: sudo apt-get install$missing" >&2
  exit 1
fi
