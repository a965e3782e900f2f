#!/usr/bin/env bash
# See an image work as it is meant to run: read-only, without privileges. smoke_image.sh serve|demo|train IMAGE
set -euo pipefail
name=$1 image=$2
confined=(--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)
container=

clean() {
  if [ -n "$container" ]; then docker logs "$container" || true; docker rm --force "$container" > /dev/null; fi
}
trap clean EXIT

start() { # options of docker run
  container=$(docker run --detach "${confined[@]}" "$@")
  for _ in $(seq 90); do
    case $(docker inspect --format '{{.State.Health.Status}}' "$container") in
      healthy) return ;;
      unhealthy) break ;;
    esac
    sleep 1
  done
  echo "$image does not turn healthy" >&2
  return 1
}

ends_in_order() {
  docker stop --time 40 "$container" > /dev/null
  code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
  [ "$code" = 0 ] || { echo "SIGTERM ended it with $code" >&2; return 1; }
}

[ "$(docker run --rm --entrypoint id "$image" --user)" = 10001 ] || { echo "it does not run as user 10001" >&2; exit 1; }

case $name in
  serve)
    size=$(docker image inspect --format '{{.Size}}' "$image")
    [ "$size" -lt 700000000 ] || { echo "$size bytes are more than 700 MB" >&2; exit 1; }
    if docker run --rm --entrypoint python "$image" -c 'import torch' 2> /dev/null; then
      echo "torch is in the image" >&2
      exit 1
    fi
    start --publish 127.0.0.1:8000:8000 "$image"
    docker exec "$container" pneumonia data phantom --train 0 --val 0 --test 4 --output /tmp/films
    film=$(docker exec "$container" find /tmp/films -name '*.jpeg' | head -n 1)
    docker exec "$container" cat "$film" > film.jpeg
    curl --fail --silent --show-error --form file=@film.jpeg http://127.0.0.1:8000/predict | tee answer.json
    grep --quiet '"probability"' answer.json
    ends_in_order
    ;;
  demo)
    start --publish 127.0.0.1:7860:7860 "$image"
    curl --fail --silent --show-error --output /dev/null http://127.0.0.1:7860/
    ends_in_order
    ;;
  train)
    volume=(--volume pneumonia-smoke:/work/artifacts)
    docker run --rm "${confined[@]}" "${volume[@]}" "$image" \
      data phantom --train 80 --val 0 --test 20 --output artifacts/phantom
    docker run --rm "${confined[@]}" "${volume[@]}" "$image" fit --config configs/debug.yaml \
      --data.root artifacts/phantom --data.cache_dir artifacts/cache --trainer.default_root_dir artifacts/run
    docker volume rm pneumonia-smoke > /dev/null
    ;;
  *)
    echo "serve, demo or train, not $name" >&2
    exit 2
    ;;
esac
echo "$image works"
