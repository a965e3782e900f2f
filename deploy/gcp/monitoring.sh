#!/usr/bin/env bash
# Metrics of the log, uptime check, objectives, alerts and dashboard. May be repeated: what is there is brought up to date.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "monitoring.sh: metrics of the log, uptime check, objectives, alerts and dashboard of the API." "$@"

made=$RENDERED/monitoring

# fill_in NAME=value... -- FILE...
fill_in() {
  render PROJECT="$PROJECT" PROJECT_NUMBER="$PROJECT_NUMBER" REGION="$REGION" API="$API" CHECK="$CHECK" \
    AVAILABILITY_GOAL="$AVAILABILITY_GOAL" LATENCY_GOAL="$LATENCY_GOAL" LATENCY_MS="$SIZING_LATENCY_MS" \
    LATENCY_SECONDS="$((SIZING_LATENCY_MS / 1000)).$(printf '%03d' $((SIZING_LATENCY_MS % 1000)))" \
    MAX_INSTANCES="$API_MAX_INSTANCES" CONCURRENCY="$SIZING_CONCURRENCY" "$@"
}

log_metrics() {
  local file name
  for file in "$made"/metrics/*.json; do
    name=pneumonia_$(basename "$file" .json)
    create_or_update "the metric $name" gcloud logging metrics describe "$name" --project="$PROJECT" -- \
      gcloud logging metrics create "$name" --project="$PROJECT" --config-from-file="$file" -- \
      gcloud logging metrics update "$name" --project="$PROJECT" --config-from-file="$file"
  done
}

# create_or_update "what" FIND... -- CREATE... -- UPDATE...
create_or_update() {
  local what=$1 part=0 word find=() create=() update=()
  shift
  for word in "$@"; do
    if [[ $word == -- ]]; then
      part=$((part + 1))
    else
      case $part in
        0) find+=("$word") ;;
        1) create+=("$word") ;;
        *) update+=("$word") ;;
      esac
    fi
  done
  if [[ -n $DRY_RUN ]]; then
    say "unless $what is there, else the last one:"
    show "${find[@]}"
    show "${create[@]}"
    show "${update[@]}"
  elif "${find[@]}" > /dev/null 2>&1; then
    "${update[@]}"
  else
    "${create[@]}"
  fi
}

# the_only KIND... -- FILTER: the name of the one resource that a list finds; empty when there is none.
the_only() {
  local found command=()
  while [[ $1 != -- ]]; do
    command+=("$1")
    shift
  done
  if ! found=$(ask "${command[@]}" --project="$PROJECT" --filter="$2" --format='value(name)'); then
    [[ -n $DRY_RUN ]] || return 1
  fi
  [[ $found != *$'\n'* ]] || fail "There are several with $2: keep one of $found."
  printf '%s' "$found"
}

# Asked from several regions, by Google's service agent, which may call the API (serve.sh).
uptime_check() {
  local how
  how=(--project="$PROJECT" --path=/health --port=443 --timeout=10 --period=5)
  CHECK=$(the_only gcloud monitoring uptime list-configs -- "displayName=$API")
  if [[ -z $CHECK ]]; then
    run gcloud monitoring uptime create "$API" "${how[@]}" --resource-type=uptime-url \
      --resource-labels="host=${API_URL#https://},project_id=$PROJECT" --protocol=https --status-classes=2xx \
      --validate-ssl=true --service-agent-auth=oidc-token --user-labels=app=pneumonia
    CHECK=$(the_only gcloud monitoring uptime list-configs -- "displayName=$API")
  else
    run gcloud monitoring uptime update "$CHECK" "${how[@]}"
  fi
  CHECK=$(basename "${CHECK:-CHECK}")
}

# gcloud has no command for objectives. The token is handed over by a pipe: a list of processes would show an argument.
rest() {
  local method=$1 path=$2 file=${3:-}
  local command=(curl --silent --show-error --fail-with-body --output "$RENDERED/answer.json" --request "$method"
    --header @- --header "Content-Type: application/json" --header "X-Goog-User-Project: $PROJECT")
  [[ -z $file ]] || command+=(--data-binary "@$file")
  command+=("https://monitoring.googleapis.com/v3/projects/$PROJECT/$path")
  if [[ -n $DRY_RUN ]]; then
    show "${command[@]}"
  else
    printf 'Authorization: Bearer %s\n' "$TOKEN" | "${command[@]}" || {
      [[ ! -e $RENDERED/answer.json ]] || cat "$RENDERED/answer.json" >&2
      return 1
    }
  fi
}

rest_ensure() {
  local what=$1 collection=$2 id=$3 key=$4 file=$5
  if [[ -n $DRY_RUN ]]; then say "unless $what is there, else the last one:"; fi
  if rest GET "$collection/$id" 2> /dev/null && [[ -z $DRY_RUN ]]; then
    rest PATCH "$collection/$id" "$file"
  else
    rest POST "$collection?$key=$id" "$file"
    [[ -z $DRY_RUN ]] || rest PATCH "$collection/$id" "$file"
  fi
}

objectives() {
  local name
  TOKEN=
  [[ -n $DRY_RUN ]] || TOKEN=$(gcloud auth print-access-token)
  rest_ensure "the service" services "$API" serviceId "$made/service.json"
  for name in availability latency; do
    rest_ensure "the objective $name" "services/$API/serviceLevelObjectives" "$name" serviceLevelObjectiveId \
      "$made/objectives/$name.json"
  done
}

channel() {
  CHANNEL=
  [[ -n $ALERT_EMAIL ]] || return 0
  CHANNEL=$(the_only gcloud beta monitoring channels list -- "type=email AND labels.email_address=$ALERT_EMAIL")
  if [[ -z $CHANNEL ]]; then
    run gcloud beta monitoring channels create --project="$PROJECT" --display-name=pneumonia --type=email \
      --channel-labels="email_address=$ALERT_EMAIL" --user-labels=app=pneumonia
    CHANNEL=$(the_only gcloud beta monitoring channels list -- "type=email AND labels.email_address=$ALERT_EMAIL")
  fi
}

alerts() {
  local file title policy
  while IFS=$'\t' read -r file title; do
    policy=$(the_only gcloud alpha monitoring policies list -- "userLabels.app=pneumonia AND displayName=\"$title\"")
    if [[ -z $policy ]]; then
      run gcloud alpha monitoring policies create --project="$PROJECT" --policy-from-file="$file" \
        ${CHANNEL:+--notification-channels="$CHANNEL"}
    else
      run gcloud alpha monitoring policies update "$policy" --project="$PROJECT" --policy-from-file="$file" \
        ${CHANNEL:+--set-notification-channels="$CHANNEL"}
    fi
  done < <(grep -F "$made/policies/" <<< "$files")
}

# An update says which state it follows, so that it does not undo somebody else's.
dashboard() {
  local etag
  etag=$(ask gcloud monitoring dashboards describe pneumonia --project="$PROJECT" --format='value(etag)' 2> /dev/null) || true
  if [[ -z $etag ]]; then
    run gcloud monitoring dashboards create --project="$PROJECT" --config-from-file="$made/dashboard.json"
  else
    fill_in +etag="$etag" -- monitoring/dashboard.json > /dev/null
    run gcloud monitoring dashboards update pneumonia --project="$PROJECT" --config-from-file="$made/dashboard.json"
  fi
}

# The alert for it names the check, so that this comes first.
uptime_check
cd "$HERE"
files=$(fill_in -- monitoring/*.json monitoring/*/*.json)
cd "$ROOT"
log_metrics
objectives
channel
alerts
dashboard
