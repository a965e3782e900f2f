#!/usr/bin/env bash
# On the machine: train, keep what came of it in the bucket, and stop, whatever became of it. vm_train.sh CONFIG GS_FOLDER
set -uo pipefail
config=$1 folder=$2
name=$(basename "$config" .yaml)

keep() {
  local part
  for part in "runs/$name" "bundles/$name" "reports/$name"; do
    if [ -d "artifacts/$part" ]; then gcloud storage rsync --recursive "artifacts/$part" "$folder/$part"; fi
  done
  gcloud storage cp outcome "$folder/outcome"
}

trap 'keep; sudo shutdown -h now' EXIT
if PNEUMONIA_DATA_SOURCE="" make train CONFIG="$config"; then
  echo succeeded > outcome
else
  echo "failed with $?" > outcome
fi
echo "$(git rev-parse HEAD) $(cat outcome)"
