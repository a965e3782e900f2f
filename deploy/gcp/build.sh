#!/usr/bin/env bash
# The trigger of Cloud Build: a tag that is pushed becomes images, and the services serve them. May be repeated.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "build.sh [now TAG]: the trigger of Cloud Build, or one build of this checkout, which deploys nothing." "$@"

substitutions="_IMAGES=$IMAGES,_API=$API,_PAGE=$PAGE,_REGISTRY=$BUILD_REGISTRY,_BUNDLE=$BUILD_BUNDLE"
substitutions+=",_WANDB_SECRET=$WANDB_SECRET"
as="projects/$PROJECT/serviceAccounts/$BUILD_ACCOUNT"

# It deploys the two services, as the accounts that they run as, and nothing else.
permissions() {
  local service
  for service in "$API" "$PAGE"; do
    run gcloud run services add-iam-policy-binding "$service" --project="$PROJECT" --region="$REGION" \
      --member="serviceAccount:$BUILD_ACCOUNT" --role=roles/run.developer --condition=None
    run gcloud iam service-accounts add-iam-policy-binding "$(account "$service")" --project="$PROJECT" \
      --member="serviceAccount:$BUILD_ACCOUNT" --role=roles/iam.serviceAccountUser --condition=None
  done
}

trigger() {
  local what=(gcloud builds triggers)
  local how=(--project="$PROJECT" --region="$REGION" --repository="$BUILD_REPOSITORY" --tag-pattern="$BUILD_TAGS"
    --build-config=deploy/gcp/cloudbuild.yaml --service-account="$as"
    --description="Images and services of pneumonia")
  if ask "${what[@]}" describe pneumonia --project="$PROJECT" --region="$REGION" > /dev/null 2>&1; then
    run "${what[@]}" update github pneumonia "${how[@]}" --update-substitutions="$substitutions"
  else
    run "${what[@]}" create github --name=pneumonia "${how[@]}" --substitutions="$substitutions"
  fi
}

if [[ ${WORDS[0]:-} == now ]]; then
  tag=${WORDS[1]:-$IMAGE_TAG}
  [[ $tag =~ ^(${PATTERNS[IMAGE_TAG]})$ ]] || fail "'$tag' is no tag of an image."
  commit=$(git -C "$ROOT" rev-parse HEAD)
  run gcloud builds submit "$ROOT" --project="$PROJECT" --region="$REGION" --config="$HERE/cloudbuild.yaml" \
    --service-account="$as" --substitutions="$substitutions,_TAG=$tag,_DEPLOY=no,COMMIT_SHA=$commit"
else
  permissions
  if [[ -n $BUILD_REPOSITORY ]]; then trigger; else say "BUILD_REPOSITORY is empty: no trigger."; fi
fi
