"""What the page says of a film, as HTML: the decision in words, the probability on its scale, the input check."""

import html

from pneumonia.demo.checks import reason_html
from pneumonia.demo.problems import Problem
from pneumonia.demo.strings import Strings
from pneumonia.evaluation.conformal import in_percent
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction


def idle_card(say: Strings) -> str:
    """What stands in the answer's place before there is a film."""
    return f'<section class="card idle"><h2>{say.html("answer.title")}</h2><p>{say.html("answer.idle")}</p></section>'


def waiting_card(say: Strings) -> str:
    """What stands there while the model reads it."""
    return (
        f'<section class="card idle"><h2>{say.html("answer.title")}</h2>'
        f'<p class="waiting"><span class="dot"></span>{say.html("answer.waiting")}</p>'
        f'<p class="slow">{say.html("answer.slow")}</p></section>'
    )


def answer_card(say: Strings, prediction: Prediction, synthetic: bool, heatmap: bool) -> str:
    """The decision, or that there is none; `synthetic` when the model never saw a patient's film."""
    checked = _input_check(say, prediction.input_check)
    if not prediction.input_check.passed:
        body = f'<p class="verdict">{say.html("answer.none")}</p><p>{say.html("answer.unusable")}</p>{checked}'
        return _card(say, "abstained", "answer.abstains", body, prediction, synthetic)
    body = (
        f'<p class="verdict">{html.escape(words_of(say, prediction.prediction))}</p>'
        f"<p>{_sentence(say, prediction)}</p>"
        f"{probability_bar(say, prediction.probability, prediction.threshold)}"
        f"{_set(say, prediction)}{checked}"
    )
    if not heatmap:
        body += f'<p class="quiet">{say.html("answer.no_heatmap")}</p>'
    if prediction.abstained:
        return _card(say, "abstained", "answer.unsure", body, prediction, synthetic)
    kind = "positive" if prediction.class_index else "negative"
    return _card(say, kind, "answer.decided", body, prediction, synthetic)


def problem_card(say: Strings, problem: Problem, film_kept: bool) -> str:
    """What went wrong and what to do; `film_kept` when the film is still there to be sent again."""
    kept = f"<p>{say.html('problem.kept')}</p>" if film_kept and problem.retry else ""
    title = f"<h2>{say.html('problem.title')}</h2>"
    return f'<section class="card problem">{title}{_problem(say, problem)}{kept}</section>'


def problem_note(say: Strings, problem: Problem) -> str:
    """What went wrong and what to do, where no film is waited for."""
    return f'<section class="card problem">{_problem(say, problem)}</section>'


def _problem(say: Strings, problem: Problem) -> str:
    detail = f'<p lang="en">{html.escape(problem.detail)}</p>' if problem.detail else ""
    what = f'<p class="what">{html.escape(problem.what(say))}</p>'
    return f"{what}{detail}<p>{say.mark_up(problem.advice(say))}</p>"


def probability_bar(say: Strings, probability: float, threshold: float) -> str:
    """A scale from 0 to 100% with the probability as a bar and the operating point as a mark.

    Both in [0, 1]. It reads as one picture with a text that says the same.
    """
    shown, limit = percents(say, probability, threshold)
    label = say.html("answer.scale", probability=shown, threshold=limit)
    side = "end" if threshold > 0.5 else "start"
    ends = "".join(f"<span>{say.figure(end)}</span>" for end in ("0%", "50%", "100%"))
    return (
        f'<div class="scale" role="img" aria-label="{label}">'
        f'<div class="track"><span class="called" style="left:{threshold:.2%}"></span>'
        f'<span class="value" style="width:{probability:.2%}"></span>'
        f'<span class="mark" style="left:{threshold:.2%}"></span></div>'
        f'<div class="limit {side}" style="--at:{threshold:.2%}">'
        f"{say.html('answer.operating_point', threshold=limit)}</div>"
        f'<div class="ends">{ends}</div></div>'
    )


def words_of(say: Strings, name: str, in_text: bool = False) -> str:
    """A class of the bundle in words, as a title or as it stands within a sentence."""
    words = say.find(f"classes_in_text.{name}" if in_text else f"classes.{name}")
    if words is not None:
        return words
    plain = name.replace("_", " ")
    return plain.lower() if in_text else plain.capitalize()


def percents(say: Strings, probability: float, threshold: float) -> tuple[str, str]:
    """Two probabilities as a person reads them, with as many digits as it takes to tell them apart, up to three.

    >>> percents(Strings("en"), 0.8734, 0.5), percents(Strings("en"), 0.7447, 0.74481)
    (('87.3%', '50.0%'), ('74.47%', '74.48%'))
    """
    for digits in (1, 2, 3):
        shown, limit = percent(say, probability, digits), percent(say, threshold, digits)
        if shown != limit or probability == threshold:
            break
    return shown, limit


def percent(say: Strings, probability: float, digits: int = 1) -> str:
    """Never 0% or 100%, which no model can know."""
    least = 10.0 ** (-digits - 2)
    if probability < least:
        return say("figures.under", figure=say.figure(f"{least:.{digits}%}"))
    if probability > 1 - least:
        return say("figures.over", figure=say.figure(f"{1 - least:.{digits}%}"))
    return say.figure(f"{probability:.{digits}%}")


def _sentence(say: Strings, prediction: Prediction) -> str:
    key = "answer.above" if prediction.probability >= prediction.threshold else "answer.below"
    shown, _ = percents(say, prediction.probability, prediction.threshold)
    return say.html(key, probability=shown)


def _set(say: Strings, prediction: Prediction) -> str:
    """The conformal set in plain words; of several classes also how likely each is."""
    names = [words_of(say, name, in_text=True) for name in prediction.prediction_set]
    coverage = say.figure(in_percent(prediction.coverage))
    if not names:
        said = say.html("answer.set_empty", coverage=coverage)
    elif len(names) == 1:
        said = say.html("answer.set_one", name=names[0], coverage=coverage)
        if prediction.prediction not in prediction.prediction_set:
            said += f" {say.html('answer.set_other', name=words_of(say, prediction.prediction, in_text=True))}"
    else:
        key = "answer.set_two" if len(names) == 2 else "answer.set_more"
        said = say.html(key, names=say("answer.and", first=", ".join(names[:-1]), last=names[-1]), coverage=coverage)
    shares = ""
    if len(prediction.probabilities) > 2:
        rows = (
            f"<li>{html.escape(words_of(say, name))}: {percent(say, value)}</li>"
            for name, value in prediction.probabilities.items()
        )
        shares = f"<ul>{''.join(rows)}</ul>"
    return f'<div class="set"><p>{said}</p>{shares}</div>'


def _input_check(say: Strings, checked: InputCheck) -> str:
    if checked.passed:
        return f'<p class="check passed">{say.html("answer.check_passed")}</p>'
    reasons = "".join(f"<li>{reason_html(say, reason)}</li>" for reason in checked.reasons)
    return f'<div class="check failed"><strong>{say.html("answer.check_failed")}</strong><ul>{reasons}</ul></div>'


def _card(say: Strings, kind: str, title: str, body: str, prediction: Prediction, synthetic: bool) -> str:
    warning = f'<p class="synthetic-note">{say.html("answer.synthetic")}</p>' if synthetic else ""
    return (
        f'<section class="card {kind}"><h2>{say.html(title)}</h2>{warning}{body}'
        f'<p class="by">{say.html("answer.by", model=prediction.model)} {say.html("disclaimer")}</p></section>'
    )
