#!/bin/sh
# Brings a fresh machine to where the project's commands work: checks what must be there, installs what can be.
# Never calls `node` before `npm ci`: the shell would remember the system's instead of the project's Node 24.
# Usage: sh test/setup.sh [--npm-only]
set -eu
cd "$(dirname "$0")/.."

missing=
need() { # command, what it is
  command -v "$1" >/dev/null 2>&1 || missing="$missing
  - $2 (command '$1')"
}
need npm 'npm, which comes with Node.js 20 or later'
need sha256sum 'GNU coreutils'
if [ "${1:-}" != --npm-only ]; then
  need go 'Go 1.26 or later'
  need apt-get 'a Debian system'
  [ "$(id -u)" = 0 ] || missing="$missing
  - root rights (the cluster makes namespaces and mounts)"
fi
if [ -n "$missing" ]; then
  printf 'setup: this machine lacks:%s\n' "$missing" >&2
  exit 1
fi

stamp=$(sha256sum package-lock.json package.json | sha256sum | cut -d' ' -f1)
if [ ! -d node_modules ] || [ "$(cat node_modules/.lockfile-stamp 2>/dev/null)" != "$stamp" ]; then
  echo 'setup: npm ci' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  echo "$stamp" >node_modules/.lockfile-stamp
fi
if [ "${1:-}" = --npm-only ]; then exit 0; fi

packages=
for pair in redis-server:redis-server containerd:containerd runc:runc nft:nftables iptables:iptables ip:iproute2 \
  openssl:openssl tcpdump:tcpdump; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || packages="$packages ${pair##*:}"
done
[ -x /usr/lib/cni/bridge ] || packages="$packages containernetworking-plugins"
if [ -n "$packages" ]; then
  echo "setup: installing$packages" >&2
  # The packages must not start their services: tests and the cluster run their own.
  policy=/usr/sbin/policy-rc.d
  made=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made=1
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq >&2
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
  [ -z "$made" ] || rm -f "$policy"
fi
