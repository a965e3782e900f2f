"""Figures as the page writes them, and what of a server's JSON can be looked into."""

import math
from collections.abc import Mapping
from typing import Any

from pneumonia.demo.exploring import Share
from pneumonia.demo.strings import Strings


def percent_of(say: Strings, value: float) -> str:
    """A share in [0, 1] as `87.3%`; `-` for NaN."""
    return "-" if math.isnan(value) else say.figure(f"{value:.1%}")


def share_of(say: Strings, share: Share) -> str:
    """A share with its interval, as HTML; `-` where it is one of nothing."""
    if math.isnan(share.value):
        return "-"
    limits = say.html("explore.interval", low=percent_of(say, share.low), high=percent_of(say, share.high))
    return f"{percent_of(say, share.value)} <small>{limits}</small>"


def count_of(say: Strings, value: object) -> str:
    """`1,234`; nothing for what is no whole number."""
    return say.figure(f"{value:,}") if isinstance(value, int) else ""


def mapping_of(value: object) -> Mapping[str, Any]:
    """A JSON object as it is; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
