#!/bin/bash
# tests/system/newcomer.sh REPRISE: types what README.md tells a newcomer to type, line by line and as it stands, in
# namespaces of its own where nothing of a cloud is yet; then looks who may do what on that host, and whether
# `ops/down --wipe` leaves it as it was. Prints a line a check; exit 1 at the first that fails. Needs root.
set -uo pipefail
(( $# == 1 )) || { echo 'usage: newcomer.sh REPRISE' >&2; exit 2; }
reprise=$(realpath "$1") || exit 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where a cloud that was installed is, and where ops/up puts what it makes: each a folder of the test's own.
readonly places=(/var/lib/reprise /var/log/reprise /usr/local/bin)

if [[ ! ${REPRISE_NEWCOMER:-} ]]; then
  made=()
  for place in "${places[@]}"; do [[ -d $place ]] || { mkdir -p "$place" && made+=("$place"); }; done
  REPRISE_NEWCOMER=$(mktemp -d) || exit 1
  export REPRISE_NEWCOMER
  status=0 groups=$(compgen -G '/sys/fs/cgroup/machine'; compgen -G '/sys/fs/cgroup/*/machine')
  unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc -- "$BASH" "$0" "$reprise" || status=$?
  # of a libvirtd that was not told to go
  for place in /sys/fs/cgroup/machine /sys/fs/cgroup/*/machine; do
    grep -qxF -- "$place" <<<"$groups" || find "$place" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  (( ! ${#made[@]} )) || rmdir -- "${made[@]}"
  rm -rf "$REPRISE_NEWCOMER"
  exit $status
fi

work=$REPRISE_NEWCOMER
fail() { printf 'FAIL  %s\n' "$*"; exit 1; }
well() { printf 'ok    %s\n' "$*"; }

enter() {
  local place
  mount --make-rprivate / || return 1
  for place in "${places[@]}"; do
    mkdir -p "$work/places$place" && mount --bind "$work/places$place" "$place" || return 1
  done
  # sysfs shows the devices of the network namespace that it is mounted in
  mkdir "$work/cgroup" && mount --rbind /sys/fs/cgroup "$work/cgroup" || return 1
  mount -t sysfs sys /sys && mount --rbind "$work/cgroup" /sys/fs/cgroup || return 1
  mount -t tmpfs -o mode=755 run /run && ip link set lo up
}
enter > "$work/entered" 2>&1 || fail "no host of its own: $(tail -3 "$work/entered")"
chmod 711 "$work"
cd "$root" || exit 1
unset REPRISE_STATE
export REPRISE_BINARY=$reprise PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What a wiped cloud must not leave, and what it must not take.
# iproute2's folder stays, and what was said of what stays.
host() {
  find /run /usr/local/bin /var/lib/reprise /var/log/reprise -mindepth 1 -not -path '/run/mount*' -not -path /run/netns -not -path '/var/log/reprise/setup-*' -not -path '/var/log/reprise/image-*' | sort
  ls -d /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /sys/fs/cgroup/machine /sys/fs/cgroup/*/machine 2>/dev/null
  ip -o link | awk '{print $2}'
  ip netns list
}
# Daemons have left the test's process group.
others() { ps -eo pgid=,pid=,args= | awk -v ours="$(ps -o pgid= -p $$)" '$1 != ours + 0'; }

# --- something else is called reprise

echo 'echo another' > /usr/local/bin/reprise
ops/up --drivers simulated --state "$work/another" --port 8701 > "$work/said" 2>&1 || fail "ops/up: $(tail -5 "$work/said")"
grep -q '/usr/local/bin/reprise is not ours' "$work/said" || fail "nothing is said of another /usr/local/bin/reprise"
grep -qF "$reprise status --state $work/another" "$work/said" || fail "its commands are not named by their path: $(tail -5 "$work/said")"
ops/down --wipe --state "$work/another" > "$work/said" 2>&1 || fail "ops/down --wipe: $(tail -5 "$work/said")"
[[ $(cat /usr/local/bin/reprise) == 'echo another' ]] || fail "another /usr/local/bin/reprise was written over"
rm /usr/local/bin/reprise
rm -rf /var/log/reprise/*
well 'another /usr/local/bin/reprise stays, and is spoken of'

# --- README.md

host > "$work/before"
mapfile -t lines < <(awk '/^```/ {inside = !inside; next} inside' README.md)
typed=0
for line in "${lines[@]}"; do
  case $line in ops/test*|ops/bench*) continue ;; esac  # this runs below the one, and the other takes an hour
  [[ $line ]] || continue
  eval "$line" > "$work/said" 2>&1 < /dev/null || fail "$line: $(tail -8 "$work/said")"
  [[ -s $work/said || $line == '. '* ]] || fail "$line: says nothing"
  (( ++typed ))
  well "$line"
done
(( typed >= 10 )) || fail "README.md has $typed commands in its blocks"

# --- whoever made the cloud can go on: what ops/up prints is true again and again

ops/up > "$work/said" 2>&1 || fail "ops/up on the running cloud: $(tail -5 "$work/said")"
awk '/^  / {print substr($0, 3)}' "$work/said" > "$work/next"
while IFS= read -r line; do
  [[ $line != ip\ netns* ]] || line+=' true'
  eval "$line" > "$work/said" 2>&1 < /dev/null || fail "ops/up says to type: $line: $(tail -5 "$work/said")"
  well "$line"
done < "$work/next"

# --- nobody but root speaks to the daemons, and none that a guest speaks to is root

sockets=$(find /run "/var/lib/reprise" -type s) || fail 'cannot look for sockets'
grep -q /libvirt-sock$ <<<"$sockets" || fail "libvirtd's socket is not among: $sockets"
setpriv --reuid 65534 --regid 65534 --clear-groups python3 - $sockets > "$work/said" 2>&1 <<'PY' || fail "uid 65534: $(cat "$work/said")"
import socket, sys
open_to_all = []
for path in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(path)
            open_to_all.append(path)
        except OSError:
            pass
sys.exit("can connect to " + ", ".join(open_to_all) if open_to_all else 0)
PY
well "uid 65534 reaches none of $(wc -l <<<"$sockets") sockets"
for program in qemu-system dnsmasq; do
  uids=$(for process in /proc/[0-9]*; do
    [[ $(readlink "$process/exe") != */$program* ]] || awk '/^Uid:/ {print $3}' "$process/status"
  done)
  [[ $uids ]] || fail "no $program runs"
  ! grep -qx 0 <<<"$uids" || fail "a $program runs as root"
  well "$program runs as $(sort -u <<<"$uids" | xargs id -nu | paste -sd' ')"
done

# --- and back

unset REPRISE_BINARY  # the cloud knows what it runs
ops/down --wipe > "$work/said" 2>&1 || fail "ops/down --wipe: $(tail -5 "$work/said")"
[[ ! $(others) ]] || fail "these still run: $(others)"
host > "$work/after"
diff "$work/before" "$work/after" > "$work/said" || fail "ops/down --wipe leaves another host: $(cat "$work/said")"
well 'ops/down --wipe leaves the host as it was'
