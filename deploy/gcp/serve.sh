#!/usr/bin/env bash
# The API and the page on Cloud Run. May be repeated: each time makes a revision of each, and traffic goes over to it
# when it is ready.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "serve.sh [api|page]: the API and the page on Cloud Run; without a word, both." "$@"

# Seconds that a request may take in the server, and in Cloud Run, which is to hear the server's own word.
timeout=30

api() {
  local environment secrets=()
  environment=PNEUMONIA_LOG_FORMAT=json,PNEUMONIA_TIMEOUT=$timeout
  environment+=,PNEUMONIA_MAX_BYTES=$SIZING_MAX_BYTES,PNEUMONIA_MAX_PIXELS=$SIZING_MAX_PIXELS
  environment+=,PNEUMONIA_MAX_BYTES_IN_FLIGHT=$SIZING_MAX_BYTES_IN_FLIGHT
  if [[ $API_KEYS == yes ]]; then
    environment+=,PNEUMONIA_API_KEYS=/etc/pneumonia/keys
    secrets=(--set-secrets="/etc/pneumonia/keys=$KEYS_SECRET:latest")
  else
    secrets=(--clear-secrets)
  fi
  # Processors are kept between requests: the server watches its workers all the time, and one that stands still for lack
  # of a processor looks as if it hung.
  run gcloud run deploy "$API" --project="$PROJECT" --region="$REGION" --image="$IMAGES/serve:$IMAGE_TAG" \
    --service-account="$API_ACCOUNT" --no-allow-unauthenticated --execution-environment=gen2 --labels=app=pneumonia \
    --cpu="$SIZING_CPU" --memory="${SIZING_MEMORY_MIB}Mi" --concurrency="$SIZING_CONCURRENCY" --no-cpu-throttling \
    --cpu-boost --min-instances="$API_MIN_INSTANCES" --max-instances="$API_MAX_INSTANCES" \
    --timeout="$((timeout + 5))" --port=8000 \
    --args=serve,--host=0.0.0.0,--bundle=/bundle,--workers="$SIZING_WORKERS" \
    --set-env-vars="$environment" "${secrets[@]}" \
    --startup-probe="httpGet.path=/health,httpGet.port=8000,periodSeconds=1,timeoutSeconds=1,failureThreshold=$SIZING_START_SECONDS" \
    --liveness-probe=httpGet.path=/health/live,httpGet.port=8000,periodSeconds=10,timeoutSeconds=5,failureThreshold=6
  may_call "$API" "$API_INVOKERS"
  may_call "$API" "serviceAccount:$PAGE_ACCOUNT"
  # What asks from outside whether it is up: Google's own uptime checks, by their service agent.
  may_call "$API" "serviceAccount:service-$PROJECT_NUMBER@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
}

# It keeps its visitors' sessions in one process, and shows the API its account's identity token.
page() {
  local secrets=(--clear-secrets)
  [[ $API_KEYS == no ]] || secrets=(--set-secrets="PNEUMONIA_API_KEY=$PAGE_SECRET:latest")
  run gcloud run deploy "$PAGE" --project="$PROJECT" --region="$REGION" --image="$IMAGES/demo:$IMAGE_TAG" \
    --service-account="$PAGE_ACCOUNT" --no-allow-unauthenticated --execution-environment=gen2 --labels=app=pneumonia \
    --cpu=1 --memory="$((SIZING_PAGE_MEMORY_MIB + 128))Mi" --concurrency=64 --no-cpu-throttling --cpu-boost \
    --session-affinity --min-instances=0 --max-instances=1 --timeout=300 --port=7860 \
    --args=demo,--host=0.0.0.0,--url="$API_URL" "${secrets[@]}" \
    --startup-probe=httpGet.path=/,httpGet.port=7860,periodSeconds=2,timeoutSeconds=2,failureThreshold=60
  may_call "$PAGE" "$PAGE_INVOKERS"
}

# may_call SERVICE MEMBERS, by commas
may_call() {
  local member members
  IFS=, read -ra members <<< "$2"
  for member in "${members[@]}"; do
    run gcloud run services add-iam-policy-binding "$1" --project="$PROJECT" --region="$REGION" --member="$member" \
      --role=roles/run.invoker --condition=None
  done
}

for what in "${WORDS[@]:-both}"; do
  case $what in
    api) api ;;
    page) page ;;
    both)
      api
      page
      ;;
    *) fail "$what is neither api nor page." ;;
  esac
done
say "API: $API_URL"
