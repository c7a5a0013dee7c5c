#!/usr/bin/env bash
# Build the cpu image without a container engine, and test it the way an engine would run it: as process 1 in its own
# namespaces, on a read-only root file system, without privileges.
#
#   deploy/image.sh                                    with a base made by debootstrap (once; it is cached)
#   BASE=python:3.11-slim-bookworm deploy/image.sh     with another base, if a registry can be reached
#
# Exit status: 0 if everything works, 1 if something fails, 77 if this machine cannot run the test. The build uses pip's
# configuration (/etc/pip.conf or $PIP_CONFIG_FILE) and the certificates of this machine; no layer keeps them.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

readonly IMAGE=localhost/rt-sentiment:cpu LIMIT_MB=400
readonly DEBIAN=localhost/rt-sentiment-base:bookworm
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/rt-sentiment"
readonly URL=http://127.0.0.1:8000
work=$(mktemp -d)
container='' root='' engine='' server='' scratch='' # of the test: the container, its mount point, the pid of unshare, the pid of the server

say() { printf 'image: %s\n' "$*" >&2; }
fail() { say "failed: $*"; exit 1; }
cannot() { say "skipped: $*"; exit 77; }

cleanup() {
  # Both: --kill-child of unshare has no effect any more once the child has changed its user.
  if [[ -n $engine ]]; then
    pkill -KILL -P "$engine" || true
    kill -KILL "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  if [[ -n $container ]]; then buildah rm "$container" >/dev/null || true; fi
  if [[ -n $scratch ]]; then buildah rm "$scratch" >/dev/null 2>&1 || true; fi
  rm -f "$CACHE"/bookworm.tar.$$
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

check_machine() {
  local tool
  [[ $(id -u) == 0 ]] || cannot "this test needs root"
  for tool in buildah unshare nsenter setpriv ip pgrep curl; do
    command -v "$tool" >/dev/null || cannot "$tool is not installed"
  done
  [[ -n ${BASE:-} ]] || command -v debootstrap >/dev/null || cannot "debootstrap is not installed and BASE is not set"
  unshare --mount --pid --net --fork true 2>/dev/null || cannot "this machine does not allow namespaces"
}

# Debian's Python instead of python:3.11-slim-bookworm. Only for this test, because nothing updates it.
make_base() {
  local tarball="$CACHE/bookworm.tar" rootfs="$work/rootfs"
  if [[ ! -f $tarball ]]; then
    say "making a Debian bookworm base (once) …"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$rootfs" >"$work/log" 2>&1 ||
      { tail -20 "$work/log" >&2; cannot "debootstrap failed"; }
    # Debian's slim images remove these files too.
    rm -rf "$rootfs"/usr/share/{doc,info,locale,man}/* "$rootfs"/var/cache/apt/* "$rootfs"/var/lib/apt/lists/*
    mkdir -p "$CACHE"
    tar -C "$rootfs" -cf "$tarball.$$" . && mv "$tarball.$$" "$tarball"
  fi
  if ! buildah inspect --type image "$DEBIAN" >/dev/null 2>&1; then
    scratch=$(buildah from scratch)
    buildah add --quiet "$scratch" "$tarball" / >/dev/null
    buildah commit --quiet --rm "$scratch" "$DEBIAN" >/dev/null
  fi
}

build() {
  local secrets=() pip_conf="${PIP_CONFIG_FILE:-/etc/pip.conf}" certificates=/etc/ssl/certs/ca-certificates.crt
  if [[ -f $pip_conf ]]; then secrets+=(--secret "id=pip.conf,src=$pip_conf"); fi
  if [[ -f $certificates ]]; then secrets+=(--secret "id=ca.crt,src=$certificates"); fi
  say "building $IMAGE …"
  # The OCI format has no HEALTHCHECK.
  buildah bud --isolation chroot --format docker --layers --force-rm --target cpu --tag "$IMAGE" \
    "${secrets[@]}" --build-arg "BASE=${BASE:-$DEBIAN}" \
    --build-arg "VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" . >"$work/log" 2>&1 ||
    { tail -40 "$work/log" >&2; fail "the build failed"; }
}

check_size() {
  local size
  size=$(buildah images --format '{{.Size}}' --filter "reference=$IMAGE")
  say "size: $size uncompressed, base included"
  [[ $size =~ ^([0-9]+)(\.[0-9]+)?\ MB$ && ${BASH_REMATCH[1]} -lt $LIMIT_MB ]] || fail "the limit is $LIMIT_MB MB"
}

# Print a field of the image's configuration, one entry per line.
configured() {
  buildah inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$IMAGE" | sed '/^$/d'
}

# Start the container as an engine does for `docker run --read-only --cap-drop ALL --security-opt no-new-privileges`.
start() {
  local -a command
  mapfile -t health < <(configured Healthcheck.Test)
  mapfile -t environment < <(configured Env)
  mapfile -t command < <(configured Entrypoint; configured Cmd)
  user=$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$IMAGE")
  container=$(buildah from "$IMAGE")
  root=$(buildah mount "$container")
  # shellcheck disable=SC2016 # the inner shell expands them
  unshare --mount --pid --net --ipc --uts --fork --kill-child bash -euc '
    root=$1 user=$2; shift 2
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom; do
      touch "$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -o remount,bind,ro "$root"
    ip link set lo up
    exec setpriv --no-new-privs env -i "$@"
  ' sh "$root" "$user" "${environment[@]}" "$(command -v chroot)" --userspec="$user" --groups= "$root" "${command[@]}" \
    2>"$work/log" &
  engine=$!
  for _ in {1..300}; do
    if grep -q '"event":"ready"' "$work/log"; then
      server=$(pgrep -P "$engine")
      return
    fi
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log" >&2
  fail "the server did not become ready"
}

# Run a command in the container, like `docker exec`.
inside() {
  env -i "${environment[@]}" "$(command -v nsenter)" --target "$server" --mount --pid --net --root \
    --setuid "${user%:*}" --setgid "${user#*:}" "$@"
}

request() { nsenter --target "$server" --net curl --silent --show-error --max-time 10 "$@"; }

check_process() {
  local status=/proc/$server/status
  grep -Eq '^NSpid:.*\s1$' "$status" || fail "the server is not process 1"
  grep -Eq '^Uid:(\s10001){4}$' "$status" || fail "the server does not run as user 10001"
  grep -Eq '^CapEff:\s0+$' "$status" || fail "the server has capabilities"
  ! inside sh -c ': > /tmp/file' 2>/dev/null || fail "the root file system is writable"
  say "process 1, user 10001, no capabilities, read-only"
}

check_answers() {
  local answer
  answer=$(request "$URL/predict" -H 'Content-Type: application/json' -d '{"text": "I loved every minute of it."}')
  say "POST /predict: $answer"
  [[ $answer == '{"label":"positive",'* ]] || fail "unexpected response"
  inside "${health[@]:1}" || fail "HEALTHCHECK fails although the server is healthy"
  say "HEALTHCHECK: $(request "$URL/healthz")"
  ! grep -v '^{' "$work/log" >&2 || fail "the log contains lines that are not JSON"
  say "memory: $(awk '/^VmHWM/ { printf "%d MB peak", $2 / 1000 }' "/proc/$server/status")"
}

check_end() {
  local ended=0 begun=$SECONDS
  kill -TERM "$server"
  sleep 0.5
  [[ $(request --output /dev/null --write-out '%{http_code}' "$URL/readyz") == 503 ]] ||
    fail "still ready after SIGTERM"
  if inside "${health[@]:1}" 2>/dev/null; then fail "HEALTHCHECK passes although the server is draining"; fi
  wait "$engine" || ended=$?
  engine=''
  tail -2 "$work/log" >&2
  ((ended == 0)) || fail "exit status $ended after SIGTERM"
  say "SIGTERM: drained, exit status 0 after $((SECONDS - begun)) s"
}

check_machine
[[ -n ${BASE:-} ]] || make_base
build
check_size
start
check_process
check_answers
check_end
say "passed: $IMAGE"
