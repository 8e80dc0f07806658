# Sourced by the programs in ops/: processes that outlive the program which started them.
#
# A process is known by a pid file and by a WORD of its command line that only it has (the path of its own configuration
# file): a pid that was given to another process meanwhile is never signalled.

# pid_of PIDFILE WORD: prints the pid when that process lives (a zombie does not), else returns 1.
pid_of() {
  local pid word state
  { read -r pid < "$1"; } 2>/dev/null || return 1
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  state=$(process_state "$pid") || return 1
  [[ $state != Z ]] || return 1
  while IFS= read -r -d '' word; do
    if [[ $word == *"$2"* ]]; then echo "$pid"; return 0; fi
  done 2>/dev/null < "/proc/$pid/cmdline"
  return 1
}

# process_state PID: R, S, T (stopped), Z …
process_state() {
  local stat
  { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
  stat=${stat##*) }
  echo "${stat%% *}"
}

# gone_within SECONDS PID: waits for a process that is not our child to end; 1 when it has not by then.
gone_within() {
  timeout "$1" tail --pid="$2" -s 0.05 -f /dev/null
}

# end_process PIDFILE WORD SECONDS: asks it to end, and makes it end after SECONDS.
end_process() {
  local pid
  if pid=$(pid_of "$1" "$2"); then
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
    if ! gone_within "$3" "$pid"; then kill -KILL "$pid" 2>/dev/null || true; gone_within 10 "$pid" || return 1; fi
  fi
  rm -f "$1"
}

# line_within SECONDS PID FILE PATTERN: waits until FILE has a line that matches PATTERN (an extended regular
# expression); 1 when PID ended or the time was up before.
line_within() {
  # grep ends at the first match; tail would only notice at its next write, so it is ended with the process substitution
  local follow found=1
  exec {follow}< <(exec timeout "$1" tail -n +1 -f -s 0.2 --pid="$2" "$3" 2>/dev/null)
  local tail_pid=$!
  if grep -qEm1 -- "$4" <&"$follow"; then found=0; fi
  kill "$tail_pid" 2>/dev/null || true
  exec {follow}<&-
  return $found
}

# port_open ADDRESS PORT: does something listen there?
port_open() { (exec {probe}<>"/dev/tcp/$1/$2") 2>/dev/null; }
