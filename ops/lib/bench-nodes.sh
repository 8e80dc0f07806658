# Sourced by ops/bench: clouds of more and more simulated nodes, ten servers on each, and how what they take grows.
# The log is not verified meanwhile: that takes the share of a core that it is configured to.

nodes_are_up() { [[ $(call GET /compute/v2.1/os-hypervisors/statistics | jq .hypervisor_statistics.count) == "$1" ]]; }

# idle_for SECONDS: percent of one core
idle_for() {
  local before begun=$EPOCHREALTIME
  before=$(worked_for "$serve")
  timeout "$1" tail --pid="$serve" -f /dev/null && fail "the server ended" "see $scratch/cloud.log"
  awk -v a="$before" -v b="$(worked_for "$serve")" -v s="$begun" -v e="$EPOCHREALTIME" 'BEGIN {printf "%.4g", (b - a) / (e - s) * 100}'
}

# of_nodes NODES: sets $empty, $full (MB), $idle (percent), $created (a second), $settled (s), $wait (ms)
of_nodes() {
  local out begun
  start_cloud "$1" '"api","controller","agent"'
  until_within 300 "$1 nodes are up" nodes_are_up "$1"
  prepare
  empty=$(resident "$serve")
  begun=$EPOCHREALTIME
  out=$(answered 202 -c 16 -n "$(($1 * 10))" POST "$servers" "$body")
  created=$(jq .per_second <<<"$out")
  until_within 900 "$(($1 * 10)) servers are ACTIVE" count_is 0 BUILD
  settled=$(elapsed "$begun")
  idle=$(idle_for "$idle_seconds") full=$(resident "$serve")
  wait=$(load -n 50 active "$servers" "$body" | jq .p50_ms)
  stop_cloud
}

# grown NAME VALUE UNIT [lower]: beside the same of the first size that has it
grown() {
  figure "$nodes nodes, $1" "$2" "$3" "${first[$1]:-null}" null "${4:-}"
  [[ ${first[$1]:-} ]] || first[$1]=$2
}

bench_nodes() {
  local nodes fewer=0 empty_fewer=0 empty full idle created settled wait lease_ms=20000 verify_share=0.0
  local -A first=()
  for nodes in $node_counts; do
    of_nodes "$nodes"
    figure "$nodes nodes, $((nodes * 10)) servers: memory" "$full" MB null 4096 lower
    (( fewer == 0 )) ||
      grown "memory a node more" "$(per "$(less "$empty" "$empty_fewer")" $((nodes - fewer)))" MB lower
    grown 'memory a server' "$(per "$(less "$full" "$empty")" $((nodes * 10)))" MB lower
    figure "$nodes nodes, processor when idle" "$idle" %
    grown 'processor when idle, a node' "$(per "$idle" "$nodes")" '%' lower
    grown 'creates' "$created" /s
    grown 'creates until all are ACTIVE' "$(per $((nodes * 10)) "$settled")" /s
    grown 'create to ACTIVE, p50' "$wait" ms lower
    fewer=$nodes empty_fewer=$empty
  done
}
