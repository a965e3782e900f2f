#!/usr/bin/env bash
# Films to a bundle, and what came of it into a folder that outlives the machine: what a job of Vertex AI runs, in the
# image of docker/train.Dockerfile. Where it was interrupted, the next one with the same KEEP goes on.
#
#   SOURCE  where the films come from: what `pneumonia data fetch --source` takes, or phantom
#   CONFIG  of the experiment, such as configs/cnn.yaml
#   KEEP    the folder for run, bundle and report
#   WANDB   yes: the run is logged in Weights & Biases
#   WANDB_SECRET, REGISTRY   may be empty: the secret with the key for that, and the registry that the bundle is pushed to
set -euo pipefail
: "${SOURCE:?}" "${CONFIG:?}" "${KEEP:?}"
name=$(basename "$CONFIG" .yaml)
work=${WORK:-/work/artifacts}
tree=$work/films run=$work/runs/$name bundle=$work/bundles/$name report=$work/reports/$name

# A bucket has no rename of folders, but a file there is the old one until the new one is whole.
keep() {
  mkdir -p "$KEEP"
  cp -r "$@" "$KEEP/"
}

configs=(--config "$CONFIG")
[ "${WANDB:-no}" = no ] || configs+=(--config configs/wandb.yaml --trainer.logger.init_args.save_dir "$work")
if [ -n "${WANDB_SECRET:-}" ]; then
  WANDB_API_KEY=$(
    python3 - "$WANDB_SECRET" << 'PYTHON'
import base64, sys
import google.auth, google.auth.transport.requests
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
session = google.auth.transport.requests.AuthorizedSession(credentials)
answer = session.get(f"https://secretmanager.googleapis.com/v1/{sys.argv[1]}:access", timeout=30)
answer.raise_for_status()
print(base64.b64decode(answer.json()["payload"]["data"]).decode().strip())
PYTHON
  )
  export WANDB_API_KEY
fi

if [ "$SOURCE" = phantom ]; then
  [ -d "$tree" ] || pneumonia data phantom --output "$tree"
else
  pneumonia data fetch --source "$SOURCE" --output "$tree"
fi
if [ -d "$KEEP/$name" ] && [ ! -d "$run" ]; then
  mkdir -p "$(dirname "$run")" && cp -r "$KEEP/$name" "$run"
fi
# A machine may be taken away: what it has reached until then is kept every few minutes.
keep_at_times() {
  trap 'kill "$pause"; exit' TERM
  while true; do
    sleep "${EVERY:-300}" &
    pause=$!
    wait "$pause"
    [ ! -d "$run" ] || keep "$run" || true
  done
}
keep_at_times &
saver=$!
trap 'kill "$saver" 2> /dev/null || true' EXIT

pneumonia fit "${configs[@]}" --data.root "$tree" --data.cache_dir "$work/cache" \
  --trainer.default_root_dir "$run" --ckpt_path last
kill "$saver" && wait "$saver" 2> /dev/null || true
keep "$run"
pneumonia export --checkpoint "$run/checkpoints/best.ckpt" --data "$tree" --output "$bundle" --name "$name" \
  --cache-dir "$work/cache"
pneumonia evaluate --bundle "$bundle" --data "$tree" --split test --output "$report" --record
mkdir -p "$KEEP/bundles" "$KEEP/reports"
cp -r "$bundle" "$KEEP/bundles/"
cp -r "$report" "$KEEP/reports/"
if [ -n "${REGISTRY:-}" ]; then
  pneumonia registry --root "$REGISTRY" push "$bundle"
fi
echo "Kept in $KEEP."
