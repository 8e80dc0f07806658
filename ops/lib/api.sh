# Sourced by the programs in ops/: speaking to a cloud's API as its admin, with curl and jq.
#
# - api_login OPENRC     sets $api (http://HOST:PORT) and $token
# - call METHOD PATH [JSON]   prints the answer's body; what is no 2xx is an error with the server's words, status 1

api_login() {
  local body headers
  . "$1"
  api=${OS_AUTH_URL%/identity/v3}
  body=$(jq -nc --arg u "$OS_USERNAME" --arg p "$OS_PASSWORD" --arg n "$OS_PROJECT_NAME" \
    '{auth:{identity:{methods:["password"],password:{user:{name:$u,domain:{id:"default"},password:$p}}},
      scope:{project:{name:$n,domain:{id:"default"}}}}}')
  headers=$(curl -sS -D - -o /dev/null -H 'Content-Type: application/json' --data-binary @- "$OS_AUTH_URL/auth/tokens" <<<"$body")
  token=$(tr -d '\r' <<<"$headers" | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p')
  [[ $token ]] || { printf 'no token from %s: %s\n' "$OS_AUTH_URL" "${headers%%$'\r'*}"; return 1; }
}

call() {
  local method=$1 path=$2 body=${3-} answer status
  local -a data=()
  [[ -z $body ]] || data=(-H 'Content-Type: application/json' --data-binary "$body")
  answer=$(curl -sS -w '\n%{http_code}' -X "$method" -H "X-Auth-Token: $token" "${data[@]}" "$api$path") || return 1
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  if [[ $status != 2* ]]; then printf '%s %s: %s %s\n' "$method" "$path" "$status" "$answer" >&2; return 1; fi
  [[ -z $answer ]] || printf '%s\n' "$answer"
}

# upload_image NAME FORMAT CONTAINER FILE [PROPERTY VALUE]…: prints its id; made only if there is none of that name
upload_image() {
  local name=$1 format=$2 container=$3 file=$4 id status extra='{}'
  shift 4
  while (( $# )); do extra=$(jq -c --arg k "$1" --arg v "$2" '.[$k]=$v' <<<"$extra"); shift 2; done
  read -r id status < <(call GET "/image/v2/images?name=$name" | jq -r '.images[0] // {} | "\(.id // "") \(.status // "")"') || true
  if [[ ! $id ]]; then
    id=$(call POST /image/v2/images "$(jq -nc --arg n "$name" --arg f "$format" --arg c "$container" --argjson e "$extra" \
      '{name:$n,disk_format:$f,container_format:$c,visibility:"public"} + $e')" | jq -r .id)
  fi
  if [[ $status != active ]]; then
    curl -sS --fail-with-body -X PUT -H "X-Auth-Token: $token" -H 'Content-Type: application/octet-stream' -T "$file" \
      "$api/image/v2/images/$id/file" >&2
  fi
  echo "$id"
}
