#!/bin/bash
# tests/system/daemons_killed.sh OPENRC STATE SERVER: kill -9 of each daemon under a running guest. The guest is
# pinged every 10 ms from its network's namespace; prints the longest gap that each kill left, and when the daemon
# was back. Then QEMU itself is killed: the server must be SHUTOFF. Exit 1 when something does not come back.
set -uo pipefail
(( $# == 3 )) || { echo 'usage: daemons_killed.sh OPENRC STATE SERVER' >&2; exit 2; }
. "$1"
state=$2 server=$3
answers=$(mktemp)
trap 'rm -f "$answers"' EXIT
value() { openstack "$@" -f value; }
address=$(value server show "$server" -c addresses | grep -oE '([0-9]{1,3}\.){3}[0-9]{1,3}' | head -1)
network=$(openstack server show "$server" -f json | jq -r '.addresses | keys[0]')
id=$(value server show "$server" -c id)
ns="rp-$(value network show "$network" -c id | tr -d - | cut -c1-12)"
pid_of() {
  case $1 in
    libvirtd) pgrep -x libvirtd | head -1 ;;
    ovs-vswitchd) pgrep -x ovs-vswitchd | head -1 ;;
    ovsdb-server) pgrep -f "ovsdb-server $state" | head -1 ;;
    dnsmasq) ip netns pids "$ns" | xargs -rn1 sh -c 'grep -q dnsmasq /proc/$0/comm && echo $0' | head -1 ;;
    qemu) pgrep -f "qemu-system.*$id" | head -1 ;;
  esac
}
within() { local until=$((SECONDS + $1)); shift; until "$@"; do (( SECONDS < until )) || return 1; read -rt 0.02 <> <(:) || true; done; }
another() { local now; now=$(pid_of "$1"); [[ $now && $now != "$2" ]]; }
status=0
for daemon in libvirtd ovs-vswitchd ovsdb-server dnsmasq; do
  old=$(pid_of "$daemon")
  [[ $old ]] || { echo "$daemon does not run"; status=1; continue; }
  ip netns exec "$ns" ping -D -i 0.01 -w 12 "$address" > "$answers" 2>&1 &
  pinging=$!
  within 10 grep -q 'bytes from' "$answers" || { echo "the guest does not answer at $address"; exit 1; }
  begun=$EPOCHREALTIME
  kill -9 "$old"
  if within 10 another "$daemon" "$old"; then back=$(awk "BEGIN {print $EPOCHREALTIME - $begun}"); else back=never; status=1; fi
  wait "$pinging"
  gap=$(awk -F'[][]' '/bytes from/ {if (last && $2 - last > most) most = $2 - last; last = $2} END {printf "%.3f", most}' "$answers")
  after=$(tail -40 "$answers" | grep -c 'bytes from')
  printf '%-13s back after %.2f s; longest gap between two answers %s s; %s answers at the end\n' "$daemon" "$back" "$gap" "$after"
  (( after > 0 )) || status=1
done
begun=$EPOCHREALTIME
kill -9 "$(pid_of qemu)"
off() { [[ $(curl -s -H "X-Auth-Token: $token" "${OS_AUTH_URL%/identity*}/compute/v2.1/servers/$id" | jq -r .server.status) == SHUTOFF ]]; }
token=$(value token issue -c id)
if within 10 off; then printf 'qemu          server is SHUTOFF, seen after %.2f s (a token was fetched in between)\n' "$(awk "BEGIN {print $EPOCHREALTIME - $begun}")"
else echo 'qemu          server is not SHUTOFF'; status=1; fi
exit $status
