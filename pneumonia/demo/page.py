"""The page: its head, and a tab for each thing that can be done."""

from collections.abc import Callable

import gradio as gr

from pneumonia.demo.events import Updates, frame_parts
from pneumonia.demo.header import header
from pneumonia.demo.site import ASKS_AT_A_TIME, QUIET, Frame, Site, place_html
from pneumonia.demo.tabs import about, compare, many, monitor, operating_point, read
from pneumonia.demo.uploads import keep_uploads_apart

# Each under its key: its title is the string `tabs.<key>`, its id `tab-<key>`.
TABS: dict[str, Callable[[Site, Frame, gr.Tab], None]] = {
    "read": read.build,
    "many": many.build,
    "compare": compare.build,
    "operating_point": operating_point.build,
    "about": about.build,
    "monitor": monitor.build,
}

_SECONDS_BETWEEN_LOOKS = 3.0


def build_page(site: Site) -> gr.Blocks:
    """The page, ready to launch."""
    say = site.say
    keep_uploads_apart()
    # An upload that was broken off is removed after five minutes; one that arrived, as soon as it is read.
    page = gr.Blocks(title=say("header.title"), analytics_enabled=False, delete_cache=(60, 300))
    with page:
        frame = Frame(page, place_html(header(say, None, site.name), "top"), gr.Timer(_SECONDS_BETWEEN_LOOKS))
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for key, build in TABS.items():
                with gr.Tab(say(f"tabs.{key}"), id=key, elem_id=f"tab-{key}") as tab:
                    build(site, frame, tab)

        def look() -> Updates:
            return frame_parts(site, site.client.model_info())

        gr.on(
            [page.load, frame.clock.tick],
            look,
            None,
            [frame.top, frame.clock],
            concurrency_limit=ASKS_AT_A_TIME,
            **QUIET,
        )
    return page
