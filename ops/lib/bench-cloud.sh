# Sourced by ops/bench: the simulated clouds that the benchmarks ask, and how a figure is told.
#
# - figure NAME VALUE UNIT LIMIT GOAL [lower]   one line; a goal of at most 1 beside a limit is of their ratio
# - start_cloud NODES ROLES [SECONDS]   a cloud in $scratch/cloud is served by $serve and has caught up; $api and $token are
#   set. $log_place, $lease_ms and $verify_share, where set, go into its configuration
# - stop_cloud [KEEP]    ends it; its folder stays with KEEP 1
# - load …               reprise_load with the token
# - worked_for PID       processor seconds of its threads that live, to the nanosecond;  resident PID: MB

figure() {
  jq -nc --arg n "$1" --argjson v "$2" --arg u "$3" --argjson l "${4:-null}" --argjson g "${5:-null}" --arg w "${6:-}" '
    (if $l == null or $v == 0 or $l == 0 then null elif $w == "lower" then $l / $v else $v / $l end) as $r |
    {name:$n, value:$v, unit:$u, limit:$l, ratio:$r, goal:$g,
     holds:(if $g == null then null elif $r != null and $g <= 1 then $r >= $g
            elif $w == "lower" then $v <= $g else $v >= $g end)}' >&"$figures"
}

worked_for() { cat "/proc/$1/task/"*/schedstat | awk '{ns += $1} END {printf "%.9f", ns / 1e9}'; }
resident() { awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$1/status"; }
ms_now() { echo $(( ${EPOCHREALTIME/[.,]/} / 1000 )); }
per() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.4g", a / b}'; }  # A / B
less() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.4g", a - b}'; }  # A - B

# make_cloud NODES ROLES [NAME]: a simulated cloud in $scratch/NAME
make_cloud() {
  local state=$scratch/${3:-cloud}
  mkdir -p "$state"
  cat > "$state/reprise.toml" <<TOML
[cloud]
roles = [$2]
[api]
port = $port
rate_per_second = 1000000.0
rate_burst = 10000000.0
[log]
place = "${log_place:-embedded}"
[controller]
lease_ms = ${lease_ms:-3600000}
[verify]
cpu_share = ${verify_share:-0.05}
[agent]
node = "bench"
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = $1
vcpus = 100000
ram_mib = 268435456
disk_gib = 268435456
TOML
  [[ -e $state/openrc ]] || "$reprise" init --state "$state" >/dev/null
}

# serve NAME [SECONDS]: the cloud in $scratch/NAME is served and has caught up; sets $serve
serve() {
  local state=$scratch/$1
  : > "$state.log"
  "$reprise" serve --state "$state" 2>>"$state.log" &
  serve=$!
  pids+=("$serve")
  line_within "${2:-60}" "$serve" "$state.log" 'caught up$' || { cat "$state.log"; fail "the server does not start" "see above"; }
}

start_cloud() {
  make_cloud "$1" "$2"
  serve cloud "${3:-60}"
  caught_up=$EPOCHREALTIME
  api_login "$scratch/cloud/openrc"
}
stop_cloud() { kill "$serve"; wait "$serve" || true; (( ${1:-0} )) || rm -rf "$scratch/cloud"; }

load() { "$bench/reprise_load" -H "X-Auth-Token: $token" -H "OpenStack-API-Version: compute 2.37" "$@"; }  # networks: none
# answered STATUS …: as load, and every answer must be STATUS
answered() {
  local status=$1 out; shift
  out=$(load "$@")
  [[ $(jq -r '.statuses | keys | join(",")' <<<"$out") == "$status" ]] ||
    fail "not every answer was $status: $* says $out" "see $scratch/*.log"
  echo "$out"
}

no_quota() {  # PROJECT
  call PUT "/compute/v2.1/os-quota-sets/$1" '{"quota_set":{"instances":-1,"cores":-1,"ram":-1,"key_pairs":-1}}' >/dev/null
}
own_project() {
  curl -sS -H "X-Auth-Token: $token" -H "X-Subject-Token: $token" "$api/identity/v3/auth/tokens" | jq -r .token.project.id
}
server_body() { echo "{\"server\":{\"name\":\"$1{i}\",\"imageRef\":\"$2\",\"flavorRef\":\"42\",\"networks\":\"none\"}}"; }
# prepare: image and quota; sets $image and $body, a server without a network
prepare() {
  no_quota "$(own_project)"
  head -c 65536 /dev/zero > "$scratch/image"
  image=$(upload_image bench raw bare "$scratch/image")
  body=$(server_body s "$image") servers=$api/compute/v2.1/servers
}
# until_within SECONDS WORDS COMMAND…: asks again until COMMAND is true. A GET waits for what is in the log: no idle loop
until_within() {
  local deadline=$((SECONDS + $1)) words=$2 asked=$1
  shift 2
  until "$@"; do (( SECONDS < deadline )) || fail "not within $asked s: $words" "see $scratch/*.log"; done
}
# count_is NUMBER STATUS: so many servers of the project, at most 1,000, are in it
count_is() { [[ $(call GET "/compute/v2.1/servers?status=$2" | jq '.servers | length') == "$1" ]]; }

# start_hello [BYTES]: the least that the HTTP library can do, on the next port; sets $hello
start_hello() {
  "$bench/reprise_hello" $((port + 1)) "$@" >"$scratch/hello" & hello=$! pids+=($!)
  line_within 10 $! "$scratch/hello" listening || fail "reprise_hello does not start" "is port $((port + 1)) taken?"
}
stop_hello() { kill "$hello"; wait "$hello" || true; }

start_kafka() {  # BROKERS: sets $kafka, the place of a log, less the cluster's name
  kafka=kafka:$("$here/kafka" up "$1" --state "$scratch/kafka" {figures}>&-)
}
stop_kafka() { [[ ! -e $scratch/kafka/cluster ]] || "$here/kafka" down --wipe --state "$scratch/kafka"; }
