#!/usr/bin/env bash
# build-image.sh [--own-base] [OPTION...] - builds the image scriptorium:VERSION; further options go to `docker build`.
# --own-base needs no registry of images: it makes the two base images from Debian's packages (debootstrap, as root) and
# from the Node and npm of this machine; for trying out and for proof, since Debian's own images are rebuilt and signed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly suite=bookworm base=scriptorium-base:local npm_image=scriptorium-npm:local
docker=${DOCKER:-docker}
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
options=(--tag "scriptorium:$version" --build-arg "VERSION=$version")

fail() {
  printf 'build-image: %s\n' "$1" >&2
  exit 1
}

# What Debian's slim images leave out as well.
make_base() {
  command -v debootstrap >/dev/null || fail "debootstrap is not installed (apt-get install debootstrap)"
  debootstrap --variant=minbase "$suite" "$work/root" >"$work/log" 2>&1 || fail "debootstrap failed: $(tail -n 3 "$work/log")"
  tar --create --directory "$work/root" --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/man/*' \
    --exclude='./usr/share/doc/*/*' --exclude='./usr/share/locale/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' . |
    "$docker" import --change 'CMD ["bash"]' - "$base" >/dev/null
}

make_npm_image() {
  local node=node_modules/node/bin/node npm
  npm=$(npm root --global)/npm
  [ -x "$node" ] || fail "run npm ci first: the Node that is to run npm is not here"
  [ -d "$npm/node_modules" ] || fail "the npm of this machine is spread over the system; install npm by itself: npm install --global npm"
  mkdir "$work/npm"
  cp "$node" "$work/npm/node"
  cp -r "$npm" "$work/npm/npm"
  printf '%s\n' "FROM $base" 'COPY node /usr/local/bin/node' 'COPY npm /usr/local/lib/node_modules/npm' \
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm' >"$work/npm/Dockerfile"
  DOCKER_BUILDKIT=1 "$docker" build --quiet --tag "$npm_image" "$work/npm" >/dev/null
}

if [ "${1:-}" = --own-base ]; then
  shift
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  make_base
  make_npm_image
  options+=(--build-arg "BASE=$base" --build-arg "NODE_IMAGE=$npm_image")
fi
if revision=$(git rev-parse HEAD 2>/dev/null); then options+=(--build-arg "REVISION=$revision"); fi

DOCKER_BUILDKIT=1 "$docker" build "${options[@]}" "$@" .
