"""Fail when the figures that `make train` reached on real films are below what the README says they are at least."""

import json
import sys
from pathlib import Path

# The test half of the mirror; on phantoms there is nothing to hold.
FLOORS = {"auroc": 0.975, "accuracy": 0.92}

report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
missed = []
for name, floor in FLOORS.items():
    value = report[name]["value"]
    print(f"{name} {value:.4f} (at least {floor})")
    if value < floor:
        missed.append(name)
if report["synthetic"]:
    print("Synthetic phantoms: the floors are for films and are not held against them.")
elif missed:
    sys.exit(f"Below the floor: {', '.join(missed)}")
