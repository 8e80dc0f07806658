# Sourced by ops/bench: intents decided over HTTP, and what the log alone takes from as many appenders.

# one_log WORDS PLACE CLUSTER: the log PLACE is asked by 1, 16, 64 and 256 clients; the limit appends to CLUSTER beside it
one_log() {
  local words=$1 limits out clients rate goal late
  log_place=$2
  limits=$("$PWD/$build/tests/log_bench" "$3" "$seconds" 1 16 64 256)
  start_cloud 10 '"api","controller","agent"'
  prepare
  stop_cloud 1
  start_cloud 10 '"api","controller"'
  answered 202 -c 64 -n 1000 POST "$servers" "$body" >/dev/null
  for clients in 1 16 64 256; do
    out=$(answered 202 -c $clients -n 20000 -t "$((seconds * 3))" POST "$servers" "$body")
    goal=null late=null
    if [[ $words == embedded && $clients == 64 ]]; then goal=5000 late=50; fi
    limit() { jq -s ".[] | select(.name == \"append.together$clients$1\").value" <<<"$limits"; }
    rate="intents over HTTP, $words, $clients client$( ((clients == 1)) || echo s)"
    figure "$rate" "$(jq .per_second <<<"$out")" /s "$(limit '')" $goal
    figure "$rate, p50" "$(jq .p50_ms <<<"$out")" ms "$(limit .p50)" null lower
    figure "$rate, p99" "$(jq .p99_ms <<<"$out")" ms "$(limit .p99)" $late lower
    figure "$rate, p99.9" "$(jq .p999_ms <<<"$out")" ms "$(limit .p999)" null lower
  done
  stop_cloud
  log_place=''
}

bench_clients() {
  local brokers
  one_log embedded embedded "embedded:$scratch/appends"
  for brokers in 1 3; do
    start_kafka $brokers
    one_log "$brokers broker$( ((brokers == 1)) || echo s)" "$kafka/cloud" "$kafka/appends"
    stop_kafka
  done
}
