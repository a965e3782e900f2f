#!/usr/bin/env bash
# APIs, bucket, images' repository, accounts, secrets, and who may do what. May be repeated.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "setup.sh: APIs, bucket, Artifact Registry, service accounts, secrets, and who may do what." "$@"

secrets=("$KEYS_SECRET" "$PAGE_SECRET" "$WANDB_SECRET")

apis() {
  run gcloud services enable aiplatform.googleapis.com artifactregistry.googleapis.com cloudbuild.googleapis.com \
    compute.googleapis.com iam.googleapis.com logging.googleapis.com monitoring.googleapis.com run.googleapis.com \
    secretmanager.googleapis.com storage.googleapis.com --project="$PROJECT"
}

storage() {
  ensure "the bucket" gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" -- \
    gcloud storage buckets create "gs://$BUCKET" --project="$PROJECT" --location="$REGION" \
    --uniform-bucket-level-access --public-access-prevention
  run gcloud storage buckets update "gs://$BUCKET" --project="$PROJECT" --versioning \
    --lifecycle-file="$HERE/bucket-lifecycle.json"
  ensure "the images' repository" \
    gcloud artifacts repositories describe "$REPOSITORY" --project="$PROJECT" --location="$REGION" -- \
    gcloud artifacts repositories create "$REPOSITORY" --project="$PROJECT" --location="$REGION" \
    --repository-format=docker --description="Images of pneumonia"
  run gcloud artifacts repositories set-cleanup-policies "$REPOSITORY" --project="$PROJECT" --location="$REGION" \
    --policy="$HERE/images-cleanup.json" --no-dry-run
}

accounts() {
  local name
  for name in "$API" "$PAGE" pneumonia-train pneumonia-build; do
    ensure "the account $name" gcloud iam service-accounts describe "$(account "$name")" --project="$PROJECT" -- \
      gcloud iam service-accounts create "$name" --project="$PROJECT" --display-name="$name"
  done
}

secret() {
  ensure "the secret $1" gcloud secrets describe "$1" --project="$PROJECT" -- \
    gcloud secrets create "$1" --project="$PROJECT" --replication-policy=user-managed --locations="$REGION"
}

# A build asks for this one whether or not it has to do with W&B, and fails for a secret without a version.
wandb_placeholder() {
  printf none > "$RENDERED/none"
  ensure "a version of $WANDB_SECRET" \
    gcloud secrets versions describe latest --secret="$WANDB_SECRET" --project="$PROJECT" -- \
    gcloud secrets versions add "$WANDB_SECRET" --data-file="$RENDERED/none" --project="$PROJECT"
}

may_read_secret() {
  run gcloud secrets add-iam-policy-binding "$1" --project="$PROJECT" --member="serviceAccount:$2" \
    --role=roles/secretmanager.secretAccessor --condition=None
}

may_in_project() {
  run gcloud projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$1" --role="$2" --condition=None
}

# Each account may do what it is for, on what it is for. The API may read its keys, and nothing else.
permissions() {
  may_read_secret "$KEYS_SECRET" "$API_ACCOUNT"
  may_read_secret "$PAGE_SECRET" "$PAGE_ACCOUNT"
  may_read_secret "$WANDB_SECRET" "$TRAIN_ACCOUNT"
  may_read_secret "$WANDB_SECRET" "$BUILD_ACCOUNT"
  run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --project="$PROJECT" \
    --member="serviceAccount:$TRAIN_ACCOUNT" --role=roles/storage.objectUser --condition=None
  run gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" --project="$PROJECT" --location="$REGION" \
    --member="serviceAccount:$BUILD_ACCOUNT" --role=roles/artifactregistry.writer --condition=None
  may_in_project "$TRAIN_ACCOUNT" roles/logging.logWriter
  may_in_project "$BUILD_ACCOUNT" roles/logging.logWriter
}

apis
storage
accounts
for each in "${secrets[@]}"; do secret "$each"; done
wandb_placeholder
permissions
say "Secrets are filled by hand, once: docs/cloud.md says how."
