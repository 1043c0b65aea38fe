#!/usr/bin/env bash
# Installs on Debian 12 what the full test run needs beside Node: Redis, Chromium with CJK fonts, and the Docker engine.
# Run as root, as often as you like: does nothing when all is there. Starts, stops and configures no service.
set -euo pipefail

readonly packages=(redis-server chromium fonts-noto-cjk docker.io)
readonly node_major=20 # the oldest Node whose npm can install the Node 24 that package-lock.json pins

say() { printf 'provision: %s\n' "$1"; }
fail() {
  printf 'provision: %s\n' "$1" >&2
  exit 1
}

check_node() {
  local major
  command -v node >/dev/null && command -v npm >/dev/null ||
    fail "no Node with npm found. Install any Node >= ${node_major} (Debian: apt-get install nodejs npm); npm ci brings the right one."
  major=$(node -p 'parseInt(process.versions.node, 10)')
  [ "$major" -ge "$node_major" ] || fail "Node $(node --version) is too old to run npm ci; Node >= ${node_major} is needed."
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || echo "$package"
  done
}

# Debian starts a service when its package is configured, unless this file says no.
hold_services() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e "$policy" ] || return 0
  trap "rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

install_packages() {
  [ "$(id -u)" = 0 ] || fail "run as root to install: $*"
  command -v apt-get >/dev/null || fail "no apt-get here; install by hand: $*"
  export DEBIAN_FRONTEND=noninteractive
  hold_services
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@"
}

check_node
mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${missing[*]}"
  install_packages "${missing[@]}"
fi
say "ready"
