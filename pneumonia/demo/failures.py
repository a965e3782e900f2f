"""What is known to go wrong with a model, in sentences: from the figures that its bundle carries, and no others."""

from collections.abc import Iterator, Mapping
from typing import Any

from pneumonia.demo.figures import mapping_of
from pneumonia.demo.strings import Strings

# A drop of the AUROC that is worth a sentence, and a share that is.
_DROP = 0.005
_LOW = 0.9


def failures(say: Strings, model: Mapping[str, Any]) -> list[str]:
    """Sentences; none where the bundle carries no figure that tells of one."""
    splits = mapping_of(model.get("metrics"))
    found: list[str] = []
    for split in ("test", "validation"):
        figures = splits.get(split)
        if isinstance(figures, Mapping):
            found += _of_split(say, say(f"failures.on_{split}"), figures)
    return list(dict.fromkeys(found))


def _of_split(say: Strings, where: str, figures: Mapping[str, Any]) -> Iterator[str]:
    for name in ("specificity", "sensitivity"):
        value = _value(figures.get(name))
        if value is not None and value < _LOW:
            yield say(f"failures.{name}", where=where, share=say.figure(f"{1 - value:.0%}"))
    for name, part in mapping_of(figures.get("subgroups")).items():
        for metric in ("sensitivity", "specificity"):
            value, whole = _value(mapping_of(part).get(metric)), _value(figures.get(metric))
            if value is not None and whole is not None and value < whole - 0.02:
                described = str(part.get("description") or name)
                figure = say.figure(f"{value:.0%}")
                yield say(f"failures.part_{metric}", where=where, part=described, share=figure)
    worst = mapping_of(mapping_of(figures.get("robustness")).get("worst"))
    drop = worst.get("drop")
    if isinstance(drop, int | float) and drop > _DROP:
        how = f"{worst.get('corruption')} {worst.get('amount')} ({worst.get('unit')})"
        yield say("failures.worst", where=where, how=how, drop=say.figure(f"{drop:.3f}"))
    for name, share in mapping_of(mapping_of(figures.get("prediction_sets")).get("covered")).items():
        asked, value = mapping_of(figures["prediction_sets"]).get("coverage"), _value(share)
        if isinstance(asked, int | float) and value is not None and value < asked - 0.02:
            shown, wanted = (say.figure(f"{number:.0%}") for number in (value, asked))
            yield say("failures.coverage", where=where, name=str(name), share=shown, coverage=wanted)


def _value(figure: object) -> float | None:
    value = mapping_of(figure).get("value")
    return float(value) if isinstance(value, int | float) else None
