"""What the page says of a film, as HTML: the decision in words, the probability on its scale, the input check."""

import html

from pneumonia import DISCLAIMER
from pneumonia.demo.problems import Problem
from pneumonia.evaluation.conformal import in_percent
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

_WORDS = {
    "NORMAL": "Normal",
    "PNEUMONIA": "Pneumonia",
    "BACTERIA": "Bacterial pneumonia",
    "VIRUS": "Viral pneumonia",
}

IDLE = (
    '<section class="card idle"><h2>Answer</h2>'
    "<p>Choose a film: the model says whether it would call it normal or pneumonia, how sure it is, and where in the "
    "film the evidence lies.</p></section>"
)

WAITING = (
    '<section class="card idle"><h2>Answer</h2><p class="waiting"><span class="dot"></span>Reading the film…</p>'
    "</section>"
)


def answer_card(prediction: Prediction, synthetic: bool, heatmap: bool) -> str:
    """The decision, or that there is none; `synthetic` when the model never saw a patient's film."""
    if not prediction.input_check.passed:
        body = (
            '<p class="verdict">No answer</p>'
            "<p>What the model would say of this image should not be used.</p>"
            f"{_input_check(prediction.input_check)}"
        )
        return _card("abstained", "The model abstains", body, prediction, synthetic)
    body = (
        f'<p class="verdict">{html.escape(words_of(prediction.prediction))}</p>'
        f"<p>{_sentence(prediction)}</p>"
        f"{probability_bar(prediction.probability, prediction.threshold)}"
        f"{_set(prediction)}"
        f"{_input_check(prediction.input_check)}"
    )
    if not heatmap:
        body += '<p class="quiet">There is no heatmap for this film.</p>'
    if prediction.abstained:
        return _card("abstained", "The model is not sure", body, prediction, synthetic)
    kind = "positive" if prediction.class_index else "negative"
    return _card(kind, "The model calls this film", body, prediction, synthetic)


def problem_card(problem: Problem, film_kept: bool) -> str:
    """What went wrong and what to do; `film_kept` when the film is still there to be sent again."""
    kept = "<p>Your film is kept.</p>" if film_kept and problem.retry else ""
    return (
        '<section class="card problem"><h2>No answer yet</h2>'
        f'<p class="what">{html.escape(problem.what)}</p><p>{_with_code(problem.advice)}</p>{kept}</section>'
    )


def probability_bar(probability: float, threshold: float) -> str:
    """A scale from 0 to 100% with the probability as a bar and the operating point as a mark.

    Both in [0, 1]. It reads as one picture with a text that says the same.
    """
    shown, limit = percents(probability, threshold)
    label = f"Calibrated probability of pneumonia: {shown}. Operating point: {limit}."
    side = "end" if threshold > 0.5 else "start"
    return (
        f'<div class="scale" role="img" aria-label="{label}">'
        f'<div class="track"><span class="called" style="left:{threshold:.2%}"></span>'
        f'<span class="value" style="width:{probability:.2%}"></span>'
        f'<span class="mark" style="left:{threshold:.2%}"></span></div>'
        f'<div class="limit {side}" style="--at:{threshold:.2%}">operating point {limit}</div>'
        '<div class="ends"><span>0%</span><span>50%</span><span>100%</span></div></div>'
    )


def words_of(name: str) -> str:
    """A class of the bundle in words."""
    return _WORDS.get(name, name.replace("_", " ").capitalize())


def percents(probability: float, threshold: float) -> tuple[str, str]:
    """Two probabilities as a person reads them, with as many digits as it takes to tell them apart, up to three.

    >>> percents(0.8734, 0.5), percents(0.7447, 0.74481)
    (('87.3%', '50.0%'), ('74.47%', '74.48%'))
    """
    for digits in (1, 2, 3):
        shown, limit = _percent(probability, digits), _percent(threshold, digits)
        if shown != limit or probability == threshold:
            break
    return shown, limit


def _percent(probability: float, digits: int) -> str:
    """Never 0% or 100%, which no model can know."""
    least = 10.0 ** (-digits - 2)
    if probability < least:
        return f"under {least:.{digits}%}"
    if probability > 1 - least:
        return f"over {1 - least:.{digits}%}"
    return f"{probability:.{digits}%}"


def _sentence(prediction: Prediction) -> str:
    place = "at or above" if prediction.probability >= prediction.threshold else "below"
    shown, _ = percents(prediction.probability, prediction.threshold)
    return (
        f"The calibrated probability of pneumonia is <strong>{shown}</strong>, "
        f"{place} the operating point from which the model calls a film pneumonia."
    )


def _set(prediction: Prediction) -> str:
    """The conformal set in plain words; of several classes also how likely each is."""
    names = [html.escape(words_of(name).lower()) for name in prediction.prediction_set]
    at = f"at a coverage of {in_percent(prediction.coverage)}"
    if not names:
        said = f"<strong>None of the classes fits</strong> {at}: films of any of them rarely score like this one."
    elif len(names) == 1:
        said = f"<strong>Only {names[0]} is plausible</strong> {at}."
        if prediction.prediction not in prediction.prediction_set:
            said += f" The operating point alone would call it {html.escape(words_of(prediction.prediction).lower())}."
    else:
        both = "Both are" if len(names) == 2 else "All of them are"
        said = f"<strong>{both} possible:</strong> {' and '.join([', '.join(names[:-1]), names[-1]])}, {at}."
    shares = ""
    if len(prediction.probabilities) > 2:
        rows = (
            f"<li>{html.escape(words_of(name))}: {_percent(value, 1)}</li>"
            for name, value in prediction.probabilities.items()
        )
        shares = f"<ul>{''.join(rows)}</ul>"
    return f'<div class="set"><p>{said}</p>{shares}</div>'


def _input_check(checked: InputCheck) -> str:
    if checked.passed:
        return (
            '<p class="check passed"><strong>Input check passed.</strong> The image is like the frontal chest films '
            "that the model learned from.</p>"
        )
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in checked.reasons)
    return f'<div class="check failed"><strong>Input check failed.</strong><ul>{reasons}</ul></div>'


def _card(kind: str, title: str, body: str, prediction: Prediction, synthetic: bool) -> str:
    warning = (
        '<p class="synthetic-note">This model learned from synthetic phantoms only: its answer means nothing for '
        "people.</p>"
        if synthetic
        else ""
    )
    return (
        f'<section class="card {kind}"><h2>{title}</h2>{warning}{body}'
        f'<p class="by">Model {html.escape(prediction.model)}. {DISCLAIMER}</p></section>'
    )


def _with_code(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
