#!/usr/bin/env bash
# Training on a machine of one's own: made, given code and data, started on its work, and left alone: it stops by itself.
# SSH goes through Google's tunnel, so that no port of it is open to the world.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin "vm.sh create|sync|train|log|fetch|stop|delete: training on a machine of one's own, which stops by itself." "$@"

where=(--project="$PROJECT" --zone="$ZONE")
checkout=pneumonia

ssh_to() { run gcloud compute ssh "$VM" "${where[@]}" --tunnel-through-iap --command="$1"; }

# Whatever becomes of the training, it is stopped after VM_HOURS; a disk that is left costs little, a machine does not.
create() {
  ensure "the machine" gcloud compute instances describe "$VM" "${where[@]}" -- \
    gcloud compute instances create "$VM" "${where[@]}" --machine-type="$VM_MACHINE" --image-family=debian-12 \
    --image-project=debian-cloud --boot-disk-size=100GB --boot-disk-type=pd-balanced --service-account="$TRAIN_ACCOUNT" \
    --scopes=cloud-platform --shielded-secure-boot --shielded-vtpm --metadata=enable-oslogin=TRUE \
    --max-run-duration="${VM_HOURS}h" --instance-termination-action=STOP --labels=app=pneumonia
  # One that is there may have stopped; to start one that runs does nothing.
  run gcloud compute instances start "$VM" "${where[@]}"
}

# The commit that is checked out here, with its history, so that a bundle can say what it was made from; and the films.
sync() {
  local pack=$RENDERED/pneumonia.pack
  if [[ -z $DRY_RUN ]] && [[ -n $(git -C "$ROOT" status --porcelain) ]]; then
    say "What is not committed stays here."
  fi
  run git -C "$ROOT" bundle create "$pack" HEAD
  ssh_to "sudo apt-get update -qq && sudo apt-get install -y -qq git make python3-venv > /dev/null"
  run gcloud compute scp "$pack" "$VM:pneumonia.pack" "${where[@]}" --tunnel-through-iap
  ssh_to "test -d $checkout || git init -q $checkout; cd $checkout && git fetch -q ../pneumonia.pack HEAD && git checkout -q --detach FETCH_HEAD"
  ssh_to "mkdir -p $checkout/data/chest_xray && gcloud storage rsync --recursive gs://$BUCKET/data/chest_xray $checkout/data/chest_xray"
}

# It goes on when this connection ends.
train() {
  ssh_to "sudo systemctl reset-failed pneumonia-train 2> /dev/null; cd $checkout && sudo systemd-run --unit=pneumonia-train --collect --uid=\$(id -u) --working-directory=\$PWD --setenv=HOME=\$HOME bash deploy/gcp/vm_train.sh configs/$TRAIN_CONFIG.yaml gs://$BUCKET/vm/$TRAIN_CONFIG"
}

log() { ssh_to "sudo journalctl --unit=pneumonia-train --follow --no-tail"; }

# From the bucket: the machine need not run.
fetch() {
  mkdir -p "$ROOT/artifacts/vm/$TRAIN_CONFIG"
  run gcloud storage rsync --recursive "gs://$BUCKET/vm/$TRAIN_CONFIG" "$ROOT/artifacts/vm/$TRAIN_CONFIG"
}

stop() { run gcloud compute instances stop "$VM" "${where[@]}"; }

delete() { run gcloud compute instances delete "$VM" "${where[@]}" --quiet; }

((${#WORDS[@]})) || fail "Do what? --help lists it."
for what in "${WORDS[@]}"; do
  case $what in
    create | sync | train | log | fetch | stop | delete) "$what" ;;
    *) fail "$what is nothing that vm.sh does; --help lists it." ;;
  esac
done
