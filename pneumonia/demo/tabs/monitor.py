"""Monitor: how much the model's server is asked, how fast it answers, what it says and what it turns away."""

from typing import Any

import gradio as gr

from pneumonia.demo.answer import problem_note
from pneumonia.demo.monitoring import Expected, expected_of, monitored
from pneumonia.demo.problems import LOCKED, MONITOR_LOCKED, WRONG_KEY, Problem
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html

_SECONDS_BETWEEN_LOOKS = 5.0

Updates = list[Any]


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

    def look(given: str | None) -> Updates:
        traffic = site.client.traffic((given or "").strip() or None)
        if isinstance(traffic, Problem):
            locked = traffic in (LOCKED, WRONG_KEY)
            said = problem_note(say, MONITOR_LOCKED if traffic == LOCKED else traffic)
            return [gr.update(visible=locked), said, gr.Timer(active=not locked)]
        return [gr.update(visible=bool(given)), monitored(say, traffic, _expected(site)), gr.Timer(active=True)]

    asks: dict[str, Any] = {"concurrency_limit": ASKS_AT_A_TIME, **QUIET}
    gr.on([tab.select, unlock.click, key.submit, refresh.click, clock.tick], look, key, [lock, figures, clock], **asks)


def _expected(site: Site) -> Expected:
    model, validation = site.client.model_info(), site.client.validation()
    if isinstance(model, Problem):
        return Expected()
    return expected_of(model, None if isinstance(validation, Problem) else validation)
