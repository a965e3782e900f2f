# shellcheck shell=bash disable=SC2034
# What the scripts of deploy/gcp share: settings, names, and how a command is run, shown, or left out.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "This needs bash 4.4 or newer, and is run by $BASH_VERSION: on macOS, install a newer one." >&2
  exit 1
fi
shopt -s inherit_errexit
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
PYTHON=${PYTHON:-python3}
SETTINGS=${SETTINGS:-$HERE/settings.env}
# What is made of the templates: it can be looked at.
RENDERED=${RENDERED:-$ROOT/artifacts/gcp}
DRY_RUN=

API=pneumonia-api PAGE=pneumonia-page REPOSITORY=pneumonia VM=pneumonia-train
KEYS_SECRET=pneumonia-api-keys PAGE_SECRET=pneumonia-page-key WANDB_SECRET=pneumonia-wandb

# Each setting and what it may be. Whatever ends up in a command or a file has passed here.
readonly EMAIL='[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+'
readonly MEMBER="(allUsers|allAuthenticatedUsers|(user|group|serviceAccount):$EMAIL|domain:[A-Za-z0-9.-]+)"
declare -A PATTERNS=(
  [PROJECT]='[a-z][a-z0-9-]{4,28}[a-z0-9]'
  [PROJECT_NUMBER]='[0-9]{6,19}'
  [REGION]='[a-z]+-[a-z]+[0-9]+'
  [ZONE]='[a-z]+-[a-z]+[0-9]+-[a-z]'
  [BUCKET]='[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]'
  [IMAGE_TAG]='[A-Za-z0-9_][A-Za-z0-9._-]{0,127}'
  [API_KEYS]='yes|no'
  [API_INVOKERS]="|$MEMBER(,$MEMBER)*"
  [PAGE_INVOKERS]="|$MEMBER(,$MEMBER)*"
  [API_MIN_INSTANCES]='[0-9]{1,3}'
  [API_MAX_INSTANCES]='[1-9][0-9]{0,2}'
  [TRAIN_CONFIG]='[a-z0-9_-]+'
  [TRAIN_MACHINE]='[a-z0-9]+-[a-z0-9-]+'
  [TRAIN_ACCELERATOR]='|NVIDIA_[A-Z0-9_]+'
  [TRAIN_HOURS]='[1-9][0-9]{0,2}'
  [WANDB]='yes|no'
  [VM_MACHINE]='[a-z0-9]+-[a-z0-9-]+'
  [VM_HOURS]='[1-9][0-9]{0,2}'
  [BUILD_REPOSITORY]='|projects/[a-z0-9-]+/locations/[a-z0-9-]+/connections/[A-Za-z0-9_-]+/repositories/[A-Za-z0-9_.-]+'
  [BUILD_TAGS]='[][A-Za-z0-9^$.*+_/(){}|?-]+'
  [BUILD_REGISTRY]='|wandb://[A-Za-z0-9_./-]+'
  [BUILD_BUNDLE]='|[A-Za-z0-9][A-Za-z0-9:._-]*'
  [ALERT_EMAIL]="|$EMAIL"
  [AVAILABILITY_GOAL]='0\.[0-9]{1,5}'
  [LATENCY_GOAL]='0\.[0-9]{1,5}'
)

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

say() { printf '# %s\n' "$*"; }

# begin "what it does" ARGUMENT...: reads --dry-run, --settings FILE and --help, then the settings and sizes. What is
# left is in WORDS.
begin() {
  local what=$1
  shift
  WORDS=()
  while (($#)); do
    case $1 in
      --dry-run) DRY_RUN=yes ;;
      --settings)
        (($# > 1)) || fail "--settings needs a file."
        SETTINGS=$2
        shift
        ;;
      --help)
        printf '%s\n\nOptions: --dry-run (print the commands, run none), --settings FILE (deploy/gcp/settings.env)\n' "$what"
        exit 0
        ;;
      -*) fail "$1 is no option; --help lists them." ;;
      *) WORDS+=("$1") ;;
    esac
    shift
  done
  load_settings "$SETTINGS"
  load_sizes
  [[ -n $DRY_RUN ]] || command -v gcloud > /dev/null || fail "gcloud is not installed; --dry-run shows what would be run."
  mkdir -p "$RENDERED"
}

# The file is read, not run. All that is wrong with it is said at once.
load_settings() {
  [[ -r $1 ]] || fail "There is no $1. Copy deploy/gcp/settings.example.env there, and change it."
  local line name value wrong=() number=0
  local -A seen=()
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    if [[ ! $line =~ ^([A-Z_]+)=(.*)$ ]]; then
      wrong+=("line $number is not NAME=value")
      continue
    fi
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    if [[ -z ${PATTERNS[$name]+known} ]]; then
      wrong+=("line $number: $name is no setting")
    elif [[ -n ${seen[$name]:-} ]]; then
      wrong+=("line $number: $name is set twice")
    elif [[ ! $value =~ ^(${PATTERNS[$name]})$ ]]; then
      wrong+=("line $number: $name can't be '$value'")
    else
      printf -v "$name" '%s' "$value"
    fi
    seen[$name]=yes
  done < "$1"
  for name in "${!PATTERNS[@]}"; do
    [[ -n ${seen[$name]:-} ]] || wrong+=("$name is missing")
  done
  if ((!${#wrong[@]})); then
    [[ $ZONE == "$REGION"-* ]] || wrong+=("ZONE is not in REGION")
    ((API_MIN_INSTANCES <= API_MAX_INSTANCES)) || wrong+=("API_MIN_INSTANCES is above API_MAX_INSTANCES")
    [[ -f $ROOT/configs/$TRAIN_CONFIG.yaml ]] || wrong+=("TRAIN_CONFIG: there is no configs/$TRAIN_CONFIG.yaml")
    [[ -z $BUILD_BUNDLE || -n $BUILD_REGISTRY ]] || wrong+=("BUILD_BUNDLE needs BUILD_REGISTRY")
    [[ -z $BUILD_REGISTRY || $WANDB == yes ]] || wrong+=("BUILD_REGISTRY needs WANDB=yes")
  fi
  if ((${#wrong[@]})); then
    printf '%s\n' "$1 can't be used:" "${wrong[@]/#/- }" >&2
    exit 1
  fi
  IMAGES=$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY
  API_URL=https://$API-$PROJECT_NUMBER.$REGION.run.app
  API_ACCOUNT=$(account "$API") PAGE_ACCOUNT=$(account "$PAGE")
  TRAIN_ACCOUNT=$(account pneumonia-train) BUILD_ACCOUNT=$(account pneumonia-build)
}

# SIZING_*: whole numbers, from what was measured.
load_sizes() {
  local line
  while IFS= read -r line; do
    [[ $line =~ ^(SIZING_[A-Z_]+)=([0-9]+)$ ]] || fail "deploy/sizing.py printed '$line'."
    printf -v "${BASH_REMATCH[1]}" '%s' "${BASH_REMATCH[2]}"
  done < <("$PYTHON" "$ROOT/deploy/sizing.py")
  [[ -n ${SIZING_MEMORY_MIB:-} ]] || fail "deploy/sizing.py failed: does $PYTHON run?"
}

account() { printf '%s@%s.iam.gserviceaccount.com' "$1" "$PROJECT"; }

# run COMMAND...: something that changes the cloud and may be repeated.
run() {
  if [[ -n $DRY_RUN ]]; then show "$@"; else "$@"; fi
}

# ask COMMAND...: something that only reads. Nothing is known in a dry run.
ask() {
  if [[ -n $DRY_RUN ]]; then
    show "$@" >&2
    return 1
  fi
  "$@"
}

show() {
  printf '%q ' "$@"
  printf '\n'
}

# ensure "what" COMMAND... -- COMMAND...: the second command, unless the first one finds what it would make.
ensure() {
  local what=$1 find=()
  shift
  while [[ $1 != -- ]]; do
    find+=("$1")
    shift
  done
  shift
  if [[ -n $DRY_RUN ]]; then
    say "unless $what is there:"
    show "${find[@]}"
    show "$@"
  elif "${find[@]}" > /dev/null 2>&1; then
    say "$what is there"
  else
    "$@"
  fi
}

# render NAME=value... -- FILE...: templates of this folder, filled in, in $RENDERED; a line for each, its path and title.
render() { "$PYTHON" "$HERE/render.py" "$HERE" "$RENDERED" "$@"; }
