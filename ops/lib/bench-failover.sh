# Sourced by ops/bench: the leading controller of two is killed, then paused, on three brokers, again and again.
#
# The client asks the other process all the while: what it asks after the fault is answered once that one leads.
# Detection: from the fault until the group has elected the other one; takeover: from there until it leads; both as it says
# itself. Outage: from the fault to the answer.

declare -A served ports
session_ms=2000  # of a candidate: events/kafka_log.h

# moment LOG WORDS: of the first line with them
moment() {
  local line
  line=$(grep -m 1 "$2" "$1") || fail "nothing in $1 says '$2'" "did another one lead?"
  date -d "${line%% *}" +%s%3N
}
leads() {  # in its own words
  [[ $(curl -sS -H "X-Auth-Token: $token" "http://127.0.0.1:${ports[$1]}/status" | jq -r .controller.role) == leading ]]
}
who_leads() { if leads a; then leader=a other=b; elif leads b; then leader=b other=a; else return 1; fi; }

# ask NAME OPTION…: for keypairs, until they are made
ask() {
  local key='ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK8rA8siFfn9Vls+SAnJYwWi6hXS8p8PeXV0D0kWk6wH bench'
  answered 201 "${@:2}" POST "http://127.0.0.1:${ports[$1]}/compute/v2.1/os-keypairs" \
    "{\"keypair\":{\"name\":\"k$((++keys))-{i}\",\"public_key\":\"$key\"}}" >/dev/null
}

# Three seconds long, in which the other one joins the group, if it is new.
leads_on() {
  local was
  who_leads || return 1
  was=$leader
  ask "$other" -n 100000 -t 3
  who_leads && [[ $leader == "$was" ]]
}

# fault SIGNAL: a line of milliseconds in $scratch/SIGNAL: detection, takeover, outage
fault() {
  local leader other begun answered elected leading
  until_within 60 'one controller leads and goes on leading' leads_on
  : > "$scratch/$leader.log"
  : > "$scratch/$other.log"
  [[ $1 != KILL ]] || disown "${served[$leader]}"  # the shell says nothing of its end
  begun=$(ms_now)
  kill -"$1" "${served[$leader]}"
  ask "$other" -n 1
  answered=$(ms_now)
  elected=$(moment "$scratch/$other.log" 'controller: elected')
  leading=$(moment "$scratch/$other.log" 'controller: leading')
  echo "$((elected - begun)) $((leading - elected)) $((answered - begun))" >> "$scratch/$1"
  if [[ $1 == KILL ]]; then
    gone_within 10 "${served[$leader]}"
    serve "$leader"
    served[$leader]=$serve
  else
    kill -CONT "${served[$leader]}"
    line_within 30 "${served[$leader]}" "$scratch/$leader.log" 'ends its claim' ||
      fail "the paused controller does not notice that another one leads" "see $scratch/$leader.log"
  fi
}

# said WORDS FILE COLUMN LIMIT GOAL: median and most
said() {
  local sorted
  mapfile -t sorted < <(cut -d ' ' -f "$3" "$2" | sort -n)
  figure "$1, median" "${sorted[${#sorted[@]} / 2]}" ms "$4" "$5" lower
  figure "$1, most of ${#sorted[@]}" "${sorted[-1]}" ms "$4" "$5" lower
}

bench_failover() {
  local name keys=0 signal how round
  start_kafka 3
  log_place=$kafka/cloud
  ports=([a]=$port [b]=$((port + 1)))
  make_cloud 1 '"api","controller"' a
  mkdir "$scratch/b"
  cp "$scratch/a/keyring" "$scratch/a/node" "$scratch/b/"
  sed "s/^port = .*/port = ${ports[b]}/" "$scratch/a/reprise.toml" > "$scratch/b/reprise.toml"
  for name in a b; do serve $name; served[$name]=$serve; done
  api_login "$scratch/a/openrc"
  no_quota "$(own_project)"
  for signal in KILL STOP; do
    for (( round = 0; round < rounds; round++ )); do fault $signal; done
    if [[ $signal == KILL ]]; then how=killed; else how=paused; fi
    said "controller $how: until another is elected" "$scratch/$signal" 1 $session_ms null
    said "controller $how: from then on until it leads" "$scratch/$signal" 2 null 2000
    said "controller $how: until a client is answered" "$scratch/$signal" 3 null null
  done
  for name in a b; do kill "${served[$name]}"; wait "${served[$name]}" || true; done
  stop_kafka
  log_place=''
}
