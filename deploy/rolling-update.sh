#!/usr/bin/env bash
# rolling-update.sh [SERVICE...] - replaces the containers of the given services (collab and api) one by one by what
# docker-compose.yml and its image say now: the new one is healthy before an old one is told to end and drains.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# How to call Compose: with the options that were given to `up`.
read -ra compose <<<"${COMPOSE:-docker compose --env-file deploy/compose.env}"
readonly healthy_seconds=120

fail() {
  printf 'rolling-update: %s\n' "$1" >&2
  exit 1
}

wait_healthy() {
  local id=$1 waited
  for ((waited = 0; waited < healthy_seconds; waited++)); do
    case $(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$id") in
      'running healthy') return 0 ;;
      exited* | dead* | restarting*) break ;;
    esac
    sleep 1
  done
  docker logs --tail 5 "$id" >&2
  docker rm --force --volumes "$id" >/dev/null
  fail "the new container did not become healthy and is removed; those before it run on"
}

replace_one() {
  local service=$1 old=$2 count=$3 before new
  before=$("${compose[@]}" ps --quiet "$service")
  "${compose[@]}" up --detach --no-deps --no-recreate --no-build --scale "$service=$((count + 1))" "$service"
  new=$("${compose[@]}" ps --quiet "$service" | grep --invert-match --fixed-strings "$before") || fail "no container of $service was added"
  wait_healthy "$new"
  # SIGTERM, and the service's stop_grace_period to drain.
  docker stop "$old" >/dev/null
  docker rm --volumes "$old" >/dev/null
  printf 'rolling-update: %s: %.12s replaced by %.12s\n' "$service" "$old" "$new"
}

services=("$@")
[ "${#services[@]}" -gt 0 ] || services=(collab api)
for service in "${services[@]}"; do
  ids=$("${compose[@]}" ps --quiet "$service")
  [ -n "$ids" ] || fail "$service does not run; start it with: ${compose[*]} up --detach $service"
  mapfile -t running <<<"$ids"
  for old in "${running[@]}"; do replace_one "$service" "$old" "${#running[@]}"; done
done
