# Sourced by the programs in ops/: what they print, and how long steps run.
#
# - say TEXT…           a line for people, on stderr under --json so that stdout stays JSON
# - step NAME REMEDY COMMAND…   a long step: one progress line with the time it takes, its output in a log file;
#   when it fails, the tail of the log and the remedy, and exit 1
# - nothing_to_do NAME  the step's line when there was nothing to do
# - fail TEXT REMEDY    an error and what to do about it, exit 1;   bad_usage TEXT: exit 2
# - json_string TEXT    TEXT as a JSON string
#
# The program sets `program` (its name) and `as_json` (0 or 1).

program=${program:-${0##*/}}
as_json=${as_json:-0}
logs=${REPRISE_LOGS:-/var/log/reprise}

json_string() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  text=${text//[[:cntrl:]]/ }
  printf '"%s"' "$text"
}

say() {
  if (( as_json )); then printf '%s\n' "$*" >&2; else printf '%s\n' "$*"; fi
}

fail() {
  if (( as_json )); then
    printf '{"ok":false,"error":%s,"remedy":%s}\n' "$(json_string "$1")" "$(json_string "${2:-}")"
  fi
  printf '%s: %s\n' "$program" "$1" >&2
  [[ -z ${2:-} ]] || printf '  what to do: %s\n' "$2" >&2
  exit 1
}

bad_usage() {
  if (( as_json )); then printf '{"ok":false,"error":%s}\n' "$(json_string "$1")"; fi
  printf '%s: %s\n  see: %s --help\n' "$program" "$1" "$program" >&2
  exit 2
}

# elapsed SINCE: seconds since SINCE (an $EPOCHREALTIME), with one decimal
elapsed() {
  local tenths=$(( (${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 100000 ))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

step_line() {  # NAME STATE SINCE
  if (( as_json )); then
    printf '{"step":%s,"state":"%s","seconds":%s}\n' "$(json_string "$1")" "$2" "$(elapsed "$3")"
  else
    [[ ! -t 1 ]] || printf '\r\e[K'
    printf '%s: %-28s %s (%s s)\n' "$program" "$1" "$2" "$(elapsed "$3")"
  fi
}

nothing_to_do() {
  if (( as_json )); then printf '{"step":%s,"state":"nothing to do"}\n' "$(json_string "$1")"
  else printf '%s: %-28s nothing to do\n' "$program" "$1"; fi
}

# The last line of LOG, short enough to stand beside the elapsed time.
last_line() {
  local line
  line=$(tail -c 400 "$1" 2>/dev/null | tr '\r\t' '\n ' | grep -v '^ *$' | tail -n 1 | tr -cd '[:print:]')
  printf '%.60s' "$line"
}

# COMMAND runs in a subshell of its own under `set -e`; its status comes back through a pipe, so the wait ends at once.
step() {
  local name=$1 remedy=$2 since=$EPOCHREALTIME status='' part='' heard=0 ticks=0 end log
  shift 2
  log=$logs/$program-${name//[^A-Za-z0-9]/-}.log
  mkdir -p "$logs" || fail "cannot make the log folder $logs" "make it, or name another one in REPRISE_LOGS"
  if (( ! as_json )) && [[ ! -t 1 ]]; then printf '%s: %-28s … (log: %s)\n' "$program" "$name" "$log"; fi
  exec {end}< <(set +e; ( set -e; "$@" ) >"$log" 2>&1 </dev/null; echo $?)
  while :; do
    heard=0; read -r -t 1 -u "$end" part || heard=$?
    status+=$part  # the second can be up between the number and its line's end
    (( heard > 128 )) || break
    (( ++ticks ))
    if (( as_json )); then continue
    elif [[ -t 1 ]]; then printf '\r\e[K%s: %-28s %s s  %s' "$program" "$name" "$(elapsed "$since")" "$(last_line "$log")"
    elif (( ticks % 20 == 0 )); then printf '%s: %-28s %s s  %s\n' "$program" "$name" "$(elapsed "$since")" "$(last_line "$log")"
    fi
  done
  exec {end}<&-
  if [[ $status == 0 ]]; then step_line "$name" done "$since"; return; fi
  step_line "$name" failed "$since"
  printf -- '--- the end of %s\n' "$log" >&2
  tail -n 20 "$log" | sed '$a\' >&2
  printf -- '---\n' >&2
  fail "$name failed${status:+ with status $status} (log: $log)" "$remedy"
}
