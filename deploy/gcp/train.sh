#!/usr/bin/env bash
# A training job on Vertex AI. Films come from gs://BUCKET/data/chest_xray; run, bundle and report go to
# gs://BUCKET/runs/NAME. The name says what is trained, so that the same is not trained twice.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "train.sh [NAME]: train TRAIN_CONFIG on Vertex AI, unless a job of that name runs or has succeeded." "$@"

name=${WORDS[0]:-$TRAIN_CONFIG-$IMAGE_TAG}
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$ ]] || fail "'$name' is no name for a job: letters, digits, '.', '_', '-'."

if [[ -n $TRAIN_ACCELERATOR ]]; then accelerators=1; else accelerators=0; fi
secret=
[[ $WANDB == no ]] || secret=projects/$PROJECT_NUMBER/secrets/$WANDB_SECRET/versions/latest

states="state=JOB_STATE_QUEUED OR state=JOB_STATE_PENDING OR state=JOB_STATE_RUNNING OR state=JOB_STATE_SUCCEEDED"
if ! found=$(ask gcloud ai custom-jobs list --project="$PROJECT" --region="$REGION" --format='value(name)' \
  --filter="displayName=$name AND ($states)"); then
  [[ -n $DRY_RUN ]] || exit 1
fi
if [[ -n $found ]]; then
  say "$name is there: $found. Another name trains again."
  exit
fi
render MACHINE="$TRAIN_MACHINE" IMAGE="$IMAGES/train:$IMAGE_TAG" CONFIG="$TRAIN_CONFIG" \
  SCRIPT="$(cat "$HERE/train_and_keep.sh")" SOURCE="/gcs/$BUCKET/data/chest_xray" BUCKET="$BUCKET" NAME="$name" \
  SECONDS="$((TRAIN_HOURS * 3600))" ACCOUNT="$TRAIN_ACCOUNT" \
  ACCELERATOR="${TRAIN_ACCELERATOR:-ACCELERATOR_TYPE_UNSPECIFIED}" ACCELERATORS="$accelerators" \
  WANDB="$WANDB" WANDB_SECRET="$secret" REGISTRY="$BUILD_REGISTRY" -- job.json > /dev/null
job=$RENDERED/job.json
say "the job: $job"
run gcloud ai custom-jobs create --project="$PROJECT" --region="$REGION" --display-name="$name" --config="$job" \
  --labels=app=pneumonia
