# Sourced by ops/bench: what reading costs, in a cloud of 10,000 servers, 1,000 of them a project's own.

# Logs in to the project; of its servers 100 are called web-…, are of an image of their own, $web_image, and are SHUTOFF,
# what they became after $since.
make_readers_cloud() {
  local project user role id
  start_cloud 100 '"api","controller","agent"'
  prepare
  project=$(call POST /identity/v3/projects '{"project":{"name":"thousand"}}' | jq -r .project.id)
  user=$(call GET '/identity/v3/users?name=admin' | jq -r '.users[0].id')
  role=$(call GET '/identity/v3/roles?name=admin' | jq -r '.roles[0].id')
  call PUT "/identity/v3/projects/$project/users/$user/roles/$role"
  no_quota "$project"
  web_image=$(upload_image web raw bare "$scratch/image")
  sed 's/^\(export OS_PROJECT_NAME\)=.*/\1=thousand/' "$scratch/cloud/openrc" > "$scratch/thousand"
  api_login "$scratch/thousand"
  answered 202 -c 16 -n 900 POST "$servers" "$(server_body db- "$image")" >/dev/null
  answered 202 -c 16 -n 100 POST "$servers" "$(server_body web- "$web_image")" >/dev/null
  until_within 60 'the first 1,000 servers are ACTIVE' count_is 0 BUILD
  since=$(date -u -d '+1 second' +%Y-%m-%dT%H:%M:%SZ)
  api_login "$scratch/cloud/openrc"
  answered 202 -c 16 -n 9000 POST "$servers" "$body" >/dev/null
  until_within 300 '10,000 servers are ACTIVE' count_is 0 BUILD
  api_login "$scratch/thousand"
  for id in $(call GET '/compute/v2.1/servers?name=^web-' | jq -r '.servers[].id'); do
    call POST "/compute/v2.1/servers/$id/action" '{"os-stop":null}'
  done
  until_within 60 '100 servers are SHUTOFF' count_is 100 SHUTOFF
  stop_cloud 1
  start_cloud 100 '"api","controller"'
  api_login "$scratch/thousand"
}

# ask_list PID TIMES URL: sets $cost, milliseconds of PID's processor time an answer, and $p50
ask_list() {
  local before out
  answered 200 -n 20 GET "$3" >/dev/null
  before=$(worked_for "$1")
  out=$(answered 200 -n "$2" GET "$3")
  cost=$(per "$(less "$(worked_for "$1")" "$before")" "$2e-3") p50=$(jq .p50_ms <<<"$out")
}

bench_list() {
  ask_list "$serve" 200 "$servers?limit=1000"
  figure 'list of 1,000 servers, processor time' "$cost" ms null 5 lower
}

bench_filtered() {
  local whole_cost whole_p50 filter all="$servers/detail?limit=1000"
  ask_list "$serve" 200 "$all"
  whole_cost=$cost whole_p50=$p50
  start_hello "$(curl -sS -H "X-Auth-Token: $token" "$all" | wc -c)"
  ask_list "$hello" 200 "http://127.0.0.1:$((port + 1))/"
  stop_hello
  figure 'details of 1,000 servers of 10,000, processor time' "$whole_cost" ms "$cost" null lower
  figure 'details of 1,000 servers of 10,000, p50' "$whole_p50" ms "$p50" null lower
  for filter in status=SHUTOFF 'name=^web-' "image=$web_image" host=bench-1 "changes-since=$since"; do
    ask_list "$serve" 500 "$all&$filter"
    figure "of these by ${filter%%=*}, processor time" "$cost" ms "$whole_cost" null lower
    figure "of these by ${filter%%=*}, p50" "$p50" ms "$whole_p50" null lower
  done
}

rate() {  # rate SUM URL: with what 16 clients get a second of it added
  local out
  out=$(answered 200 -c 16 -n 20000 GET "$2") || return 1
  jq --argjson sum "$1" '$sum + .per_second' <<<"$out"
}
mean() { jq -n --argjson sum "$1" '$sum / 4 | . * 10 | round / 10'; }

# rates ONE SEQ [LEAST]: sets $now and $then, and $least where there is such a URL
rates() {
  now=0 least=0 then=0
  for _ in 1 2 3 4; do  # in turns: the machine is not equally quick all the time
    now=$(rate "$now" "$servers/$1")
    (( $# < 3 )) || least=$(rate "$least" "$3")
    then=$(rate "$then" "$api/at/$2/compute/v2.1/servers/$1")
  done
  now=$(mean "$now") least=$(mean "$least") then=$(mean "$then")
}
seq_now() { curl -sS "$api/healthz" | jq .seq; }
oldest() { call GET '/compute/v2.1/servers?limit=1&sort_key=created_at&sort_dir=asc' | jq -r '.servers[0].id'; }

bench_reads() {
  make_readers_cloud
  if wants list; then bench_list; fi
  if wants filtered; then bench_filtered; fi
  if wants get || wants past; then
    start_hello
    rates "$(oldest)" $(( $(seq_now) - 1 )) "http://127.0.0.1:$((port + 1))/"
    stop_hello
    if wants get; then figure 'GET of one server' "$now" /s "$least" 0.7; fi
    if wants past; then figure 'GET of one server at a past seq' "$then" /s "$now" 0.4; fi
  fi
  stop_cloud
}
