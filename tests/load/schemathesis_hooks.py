"""Films for Schemathesis: of bytes that it makes up, no answer but a refusal would ever come."""

import itertools
import os
from pathlib import Path
from typing import Any

import schemathesis

FILM = Path(os.environ["SCHEMATHESIS_FILM"]).read_bytes()
TURN = itertools.cycle((True, False))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Where a file is sent, it is a film every other time."""
    del context, kwargs
    if isinstance(case.body, dict) and "file" in case.body and next(TURN):
        case.body = {**case.body, "file": FILM}
