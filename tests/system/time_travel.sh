#!/bin/bash
# tests/system/time_travel.sh REPRISE [STATE]: the unmodified openstack client in the past of a cloud, as of a seq and
# as of a time, before and after deletes. STATE: the folder of a cloud that runs; without it one of its own, with
# simulated drivers, on a free port, gone at the end. Prints a line a check; exit 1 at the first that fails.
set -uo pipefail
(( $# == 1 || $# == 2 )) || { echo 'usage: time_travel.sh REPRISE [STATE]' >&2; exit 2; }
reprise=$(realpath "$1") || exit 2
work=$(mktemp -d)
state=${2:-$work/state}
passed=0 serve=''
finish() {
  if [[ $serve ]]; then kill "$serve"; wait "$serve"; fi
  rm -rf "$work"
}
trap finish EXIT

check() {  # WHAT COMMAND…: what the command printed is kept in $out, its errors in $err
  local what=$1 begun=$EPOCHREALTIME; shift
  if out=$("$@" 2>"$work/err"); then
    passed=$((passed + 1))
    printf 'ok   %5.1f s  %s\n' "$(awk "BEGIN {print $EPOCHREALTIME - $begun}")" "$what"
  else
    printf 'FAIL          %s\n  %s\n%s\n%s\n' "$what" "$*" "$out" "$(tail -5 "$work/err")"
    printf '%d passed, 1 failed\n' "$passed"; exit 1
  fi
}
within() {  # SECONDS COMMAND…: tried again until it succeeds
  local until=$((SECONDS + $1)); shift
  until "$@"; do (( SECONDS < until )) || return 1; read -rt 0.3 <> <(:) || true; done
}
value() { openstack "$@" -f value; }
at() { local moment=$1; shift; openstack --os-auth-url "$api/at/$moment/identity/v3" "$@"; }
is() { [[ $("${@:2}") == "$1" ]]; }                       # TEXT COMMAND…: it prints just that
has() { [[ $'\n'$("${@:2}")$'\n' == *$'\n'"$1"$'\n'* ]]; }  # LINE COMMAND…
lacks() { local out; out=$("${@:2}") && [[ $'\n'$out$'\n' != *$'\n'"$1"$'\n'* ]]; }
says() {  # TEXT COMMAND…: it fails, and says that
  local text=$1; shift
  if "$@" > "$work/said" 2>&1; then echo 'it succeeded'; return 1; fi
  grep -qF -- "$text" "$work/said" || { cat "$work/said"; return 1; }
}
head_of() { "$reprise" status --state "$state" --json | jq .head.seq; }
head_time() { curl -sf -H "X-Auth-Token: $token" "$api/events?from=$1&follow=false" | head -1 | jq -r .at; }
absent() { ! openstack "$1" show "$2" > /dev/null 2>&1; }

if (( $# == 1 )); then
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  mkdir "$state"
  cat > "$state/reprise.toml" <<TOML
[api]
port = $port
[agent]
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = 3
TOML
  check 'init' "$reprise" init --state "$state"
  "$reprise" serve --state "$state" > "$work/serve.log" 2>&1 &
  serve=$!
  check 'serve' within 20 grep -q 'caught up$' "$work/serve.log"
fi
. "$state/openrc"
api=${OS_AUTH_URL%/identity/v3}
token=$(value token issue -c id) || { echo "no token from $OS_AUTH_URL"; exit 1; }
name=past-$$

# --- something to look back at
truncate -s 1M "$work/raw"
check 'image create' openstack image create "$name" --file "$work/raw" --disk-format raw --container-format bare
check 'network create' openstack network create "$name"
check 'subnet create' openstack subnet create "$name" --network "$name" --subnet-range 10.78.0.0/24
none=$(head_of)
check 'server create --wait' openstack server create "$name" --wait --image "$name" --flavor m1.nano --network "$name"
check 'volume create' openstack volume create "$name" --size 1
check 'volume is available' within 20 is available value volume show "$name" -c status
server=$(value server show "$name" -c id) volume=$(value volume show "$name" -c id)
before=$(head_of)
time=$(head_time "$before")
check 'server delete --wait' openstack server delete --wait "$name"
check 'volume delete' openstack volume delete "$name"
check 'the volume is gone' within 20 absent volume "$volume"
check 'subnet delete' openstack subnet delete "$name"
check 'network delete' openstack network delete "$name"
after=$(head_of)
later=$(head_time "$after")
printf 'info          before the deletes: seq %s of %s; after them: seq %s of %s\n' "$before" "$time" "$after" "$later"

# --- the past, by seq and by time
for moment in "$before" "$time"; do
  check "at $moment: token issue" at "$moment" token issue
  check "at $moment: the catalog points to the past" has "$api/at/$moment/compute/v2.1" \
    at "$moment" endpoint list --service nova --interface public -f value -c URL
  check "at $moment: server list" has "$name ACTIVE" at "$moment" server list -f value -c Name -c Status
  check "at $moment: server show" is ACTIVE at "$moment" server show "$server" -f value -c status
  check "at $moment: volume list" has "$name available" at "$moment" volume list -f value -c Name -c Status
  check "at $moment: volume show" is available at "$moment" volume show "$name" -f value -c status
  check "at $moment: network list" has "$name" at "$moment" network list -f value -c Name
  check "at $moment: subnet list" has 10.78.0.0/24 at "$moment" subnet list -f value -c Subnet
  check "at $moment: port list" has ACTIVE at "$moment" port list --server "$server" -f value -c Status
  check "at $moment: image list" has "$name" at "$moment" image list -f value -c Name
  check "at $moment: limits show" at "$moment" limits show --absolute
  check "at $moment: hypervisor list" at "$moment" hypervisor list
done
for moment in "$after" "$later" "$none"; do
  check "at $moment: no server" lacks "$name" at "$moment" server list -f value -c Name
  check "at $moment: volume show" says 'No volume with a name or ID' at "$moment" volume show "$volume"
done
for moment in "$after" "$later"; do
  check "at $moment: no network" lacks "$name" at "$moment" network list -f value -c Name
done
check "at $none: the network is there" has "$name" at "$none" network list -f value -c Name

# --- what the past refuses
past='The past can be read, not changed'
check 'a server is not deleted there' says "$past" at "$before" server delete "$server"
check 'a volume is not made there' says "$past" at "$before" volume create other --size 1
check 'a network is not made there' says "$past" at "$time" network create other
check 'an image is not changed there' says "$past" at "$time" image set "$name" --name other
check 'a project is not made there' says "$past" at "$time" project create other
image=$(value image show "$name" -c id)
in_the_past() { curl -s -H "X-Auth-Token: $token" "$api/at/$before$1"; }
for path in "/image/v2/images/$image/file" /metrics; do
  check "$path has no past" grep -qF 'was never in the log' <(in_the_past "$path")
done

# --- moments that are none
next=$((after + 1000000))
year=$(($(date +%Y) + 1))
check 'before the beginning' says 'lies before the beginning of this cloud: it begins with seq 1 of' at 1999-01-01T00:00:00Z server list
check 'seq 0' says 'The history begins with seq 1' at 0 server list
check 'in the future' says "lies in the future: the newest record is seq" at "$year-01-01T00:00:00Z" network list
check 'a seq that is not there yet' says "Seq $next is not there yet: the newest is seq" at "$next" token issue
check 'malformed' says "neither a seq nor an RFC 3339 time" at yesterday server list
between() {  # just before the record after $before: still as of $before, and the answer says so
  local moment
  moment=$(date -u -d "$(head_time $((before + 1))) - 0.001 seconds" +%FT%T.%3NZ)
  curl -sfD - -o /dev/null -H "X-Auth-Token: $token" "$api/at/$moment/compute/v2.1/servers" | tr -d '\r' | grep -qix "x-reprise-seq: $before"
}
check 'between two records: as of the one before' between

# --- what made the difference, and what would have been
told() { grep -qF -- "$1" <<< "$words"; }
check "diff $before $after" "$reprise" diff "$before" "$after" --state "$state"
words=$out
for line in "- server $name $server" "- volume $name $volume" "- network $name" ": ServerDeleting" "asked DeleteVolume (req-"; do
  check "  says: $line" told "$line"
done
check "diff $none $time" "$reprise" diff "$none" "$time" --state "$state"
words=$out
for line in "+ server $name $server" 'ACTIVE' 'asked CreateServer (req-'; do check "  says: $line" told "$line"; done
check 'diff in JSON' "$reprise" diff "$before" "$after" --state "$state" --json
online=$out
check 'whatif: the server again' "$reprise" whatif "$server" --state "$state" --json
host=$(jq -r .decided.name <<< "$out")
check '  it is chosen again where it was' is 1 jq '[.nodes[] | select(.chosen and .decided)] | length' <<< "$out"
without=$("$reprise" whatif "$server" --without "$host" --state "$state" --json)  # on a cloud of one node it fits nowhere then
check "whatif: without $host" is 'left out here' jq -r '.nodes[] | select(.decided).verdict' <<< "$without"
check 'whatif: would it fit now' "$reprise" whatif "$server" --at now --state "$state"
check 'whatif: too much of it' says 'find a node' "$reprise" whatif --flavor m1.large --count 10000 --state "$state"
check 'image delete' openstack image delete "$name"
if [[ $serve ]]; then
  kill "$serve"; wait "$serve"; serve=''
  same_offline() { [[ $("$reprise" diff "$before" "$after" --state "$state" --json) == "$online" ]]; }
  check 'the folder tells the same without a server' same_offline
  check 'status without a server' "$reprise" status --state "$state"
  check 'whatif without a server' "$reprise" whatif "$server" --state "$state"
fi
printf '%d passed, 0 failed\n' "$passed"
