#!/usr/bin/env bash
# Start `make serve`, wait for both the API and the page, classify a film over HTTP, stop it with SIGTERM.
set -euo pipefail
port=${PORT:-8765}
film=$(find artifacts/wheel/films -name '*.jpeg' | head -n 1)
make serve PORT="$port" > artifacts/serve.log 2>&1 &
make=$!
trap 'kill $make 2> /dev/null || true; cat artifacts/serve.log' EXIT
for _ in $(seq 600); do
  if curl -fs "http://127.0.0.1:$port/health" && curl -fs -o /dev/null http://127.0.0.1:7860; then break; fi
  kill -0 $make
  sleep 0.5
done
echo
curl -fsS -F "file=@$film" "http://127.0.0.1:$port/predict"
echo
if .venv-serve/bin/python -c 'import torch' 2> /dev/null; then echo "torch is in the serving environment" >&2; exit 1; fi
server=$(pgrep -f '.venv-serve/bin/pneumonia serve' | head -n 1)
kill -TERM "$server"
wait $make
trap - EXIT
echo "stopped in order"
