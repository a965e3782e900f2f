"""Monitor: how much the model's server is asked, how fast it answers, what it says and what it turns away."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pneumonia.demo.answer import problem_note
from pneumonia.demo.monitoring import Expected, expected_of, monitored
from pneumonia.demo.problems import LOCKED, MONITOR_LOCKED, NO_VALIDATION, WRONG_KEY, Problem
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html

_SECONDS_BETWEEN_LOOKS = 5.0

Updates = list[Any]


@dataclass(frozen=True)
class _Held:
    """What held-out films got of the bundle of this name."""

    bundle: str
    expected: Expected


def build(site: Site, frame: Frame, tab: gr.Tab) -> None:
    """Place the tab's parts.

    Where the server asks for keys, the visitor has to give one: the page's own opens films' answers, not this.
    """
    del frame
    say = site.say
    place_html(f"<p>{say.html('monitor.intro')}</p>", "monitor-intro")
    with gr.Row(visible=False, elem_id="monitor-lock") as lock:
        key = gr.Textbox(label=say("monitor.key"), type="password", elem_id="monitor-key", max_length=200)
        unlock = gr.Button(say("monitor.unlock"), elem_id="monitor-unlock")
    figures = place_html("", "monitored")
    refresh = gr.Button(say("monitor.refresh"), size="sm", elem_id="monitor-refresh")
    clock = gr.Timer(_SECONDS_BETWEEN_LOOKS, active=False)

    held = gr.State(None)

    def look(given: str | None, before: _Held | None) -> Updates:
        traffic = site.client.traffic((given or "").strip() or None)
        if isinstance(traffic, Problem):
            locked = traffic in (LOCKED, WRONG_KEY)
            said = problem_note(say, MONITOR_LOCKED if traffic == LOCKED else traffic)
            return [gr.update(visible=locked), said, gr.Timer(active=not locked), before]
        # What held-out films got changes with the bundle alone: it is not asked for at every tick.
        now = before if before is not None and before.bundle == traffic.bundle else _ask(site, traffic.bundle)
        shown = monitored(say, traffic, Expected() if now is None else now.expected)
        return [gr.update(visible=bool(given)), shown, gr.Timer(active=True), now]

    asks: dict[str, Any] = {"concurrency_limit": ASKS_AT_A_TIME, **QUIET}
    looks = [tab.select, unlock.click, key.submit, refresh.click, clock.tick]
    gr.on(looks, look, [key, held], [lock, figures, clock, held], **asks)


def _ask(site: Site, bundle: str) -> _Held | None:
    """None where the server does not say it now: it is asked again."""
    model, validation = site.client.model_info(), site.client.validation()
    if isinstance(model, Problem):
        return None
    if isinstance(validation, Problem):
        return _Held(bundle, expected_of(model, None)) if validation == NO_VALIDATION else None
    return _Held(bundle, expected_of(model, validation))
