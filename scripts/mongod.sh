#!/usr/bin/env bash
# mongod.sh DIR PORT - runs the `mongod` on the PATH over DIR, on loopback only, in the foreground; prints one line that
# begins with READY and ends on SIGTERM. The command for MONGO_SERVER where a real MongoDB is installed.
set -euo pipefail

dir=${1:?usage: mongod.sh DIR PORT}
port=${2:?usage: mongod.sh DIR PORT}
readonly start_seconds=60

mkdir -p "$dir"
mongod --dbpath "$dir" --port "$port" --bind_ip 127.0.0.1 --nounixsocket --logpath "$dir/mongod.log" --logappend >/dev/null &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true' TERM INT HUP

for ((tries = 0; tries < start_seconds * 10; tries++)); do
  kill -0 "$server" 2>/dev/null || break
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    printf 'READY mongodb://127.0.0.1:%s/ mongod=%s\n' "$port" "$server"
    ready=1
    break
  fi
  sleep 0.1
done
if [ -z "${ready:-}" ]; then
  printf 'mongod.sh: mongod did not open port %s, see %s/mongod.log\n' "$port" "$dir" >&2
  kill -KILL "$server" 2>/dev/null || true
  exit 1
fi

# A signal ends the first wait; the second is for the server's own end.
wait "$server" || true
wait "$server" 2>/dev/null
