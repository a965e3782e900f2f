"""How the page looks: the theme, its style sheet and the document's head. Nothing of it comes from another machine."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio

# Text and ground of each pair differ by 4.5:1 or more in both modes (WCAG 2.2, 1.4.3).
CSS = """
:root { --ink: #1b2430; --soft: #4a5666; --line: #d5dbe3; --paper: #ffffff;
  --positive: #a33b00; --negative: #00626e; --warn-ground: #fff3c4; --warn-ink: #4d3800; --bar: #0b6f9c; }
.dark { --ink: #eef2f6; --soft: #b3bfcc; --line: #35404d; --paper: #171d25;
  --positive: #ffb37a; --negative: #6fd6e0; --warn-ground: #4a3a06; --warn-ink: #ffe9a8; --bar: #4db5e6; }
.gradio-container .main { max-width: 1480px; margin: 0 auto; }
:is(button, input, select, textarea, summary, a, [tabindex]):focus-visible { outline: 3px solid var(--bar) !important;
  outline-offset: 2px; }
.html-container { padding: 0 !important; color: var(--ink); line-height: 1.5; }
.html-container :is(h1, h2, p, dl, dd, ul, figure) { margin: 0; }
.html-container code { font-family: var(--font-mono); }
.quiet { color: var(--soft); font-size: 0.9rem; }

.top { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: center; justify-content: space-between; }
.top h1 { font-size: 1.4rem; line-height: 1.25; font-weight: 700; }
.state { color: var(--soft); font-size: 0.95rem; overflow-wrap: anywhere; }
.dot { display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.5em; border-radius: 50%;
  background: currentColor; }
.state.ready .dot { background: #1f9d6b; }
.state.lost { color: var(--positive); }
#tabs [role=tab] { color: var(--soft); }
#tabs [role=tab][aria-selected=true] { color: var(--bar); font-weight: 600; }
.synthetic-banner, .synthetic-note { background: var(--warn-ground); color: var(--warn-ink);
  border-left: 6px solid #e0a800; border-radius: 6px; padding: 10px 14px; }
.html-container .synthetic-banner { margin-top: 12px; }

.box { background: #05070a; border-radius: 12px; padding: 12px; display: flex; flex-direction: column; gap: 10px;
  align-items: center; justify-content: center; min-height: min(30vh, 300px); }
@media (min-width: 768px) { .box.empty { min-height: min(62vh, 640px); } }
@media (max-width: 767px) { #read-answer, #read-retry { order: -1; } }
.box.over { outline: 3px solid var(--bar); }
film-viewer { display: block; width: 100%; }
film-heat { display: none; }
.stage { position: relative; width: 100%; aspect-ratio: var(--aspect); max-height: max(70vh, 300px); overflow: hidden;
  border-radius: 6px; cursor: grab; user-select: none; }
.stage:active { cursor: grabbing; }
.stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
:is(.stage, .tools button, .tools input, .keys summary):focus-visible { outline: 3px solid #4db5e6;
  outline-offset: -3px; }
.stage .mark { position: absolute; color: #fff; font-weight: 700; font-size: 1.1rem;
  text-shadow: 0 0 3px #000, 0 0 3px #000; }
.mark.top { top: 6px; left: 50%; translate: -50%; }
.mark.bottom { bottom: 6px; left: 50%; translate: -50%; }
.mark.left { left: 8px; top: 50%; translate: 0 -50%; }
.mark.right { right: 8px; top: 50%; translate: 0 -50%; }
.stage .bar { position: absolute; right: 12px; bottom: 12px; border: solid #fff; border-width: 0 2px 2px; color: #fff;
  font-size: 0.8rem; text-align: center; text-shadow: 0 0 3px #000, 0 0 3px #000; }
.tools, .keys { color: #c3ccd6; font-size: 0.9rem; margin-top: 8px; }
.tools .buttons { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; }
.tools button { min-width: 32px; height: 32px; padding: 0 8px; border-radius: 6px; border: 1px solid #5b6b7d;
  background: #1a222c; color: #eef2f6; cursor: pointer; }
.tools button:hover { background: #2a3644; }
.tools button[aria-pressed=true] { background: #eef2f6; color: #05070a; }
.tools .zoom { min-width: 4em; text-align: right; font-variant-numeric: tabular-nums; }
.tools .sliders, .tools .heat:not([hidden]) { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 8px;
  align-items: center; }
.tools label { display: flex; align-items: center; gap: 8px; min-height: 28px; }
.tools input[type=range] { width: 140px; height: 24px; accent-color: #4db5e6; }
.tools .value { min-width: 2.2em; font-variant-numeric: tabular-nums; }
.box :is(figcaption, p) { color: #c3ccd6; font-size: 0.9rem; overflow-wrap: anywhere; }
.box figcaption { text-align: center; }
.box.empty p { text-align: center; }
.box strong { color: #ffffff; font-size: 1.1rem; }
.keys summary { cursor: pointer; min-height: 24px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; }
.legend .ramp { flex: none; width: 120px; height: 10px; border-radius: 5px; }

.link { display: flex; align-items: center; gap: 8px; min-height: 28px; width: fit-content; }
.link input { appearance: auto; width: 18px; height: 18px; accent-color: var(--bar); }
[id^=compare-] h2 { font-size: 1.2rem; font-weight: 700; }
[id$=-title] h3 { font-size: 1rem; font-weight: 600; }

.upload .wrap { min-height: 0; padding-top: 30px; flex-direction: row; flex-wrap: wrap; gap: 0.4em; font-size: 1rem;
  justify-content: center; align-content: center; }
.upload .wrap .icon-wrap { width: 24px; height: 24px; margin: 0; }
:is(.min_value, .max_value) { color: var(--soft); }
[data-testid=upload-text] .or { color: var(--soft); }
.examples { gap: 8px; align-items: center; }
[id$=-examples-label] { flex-basis: 100%; }

.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  display: flex; flex-direction: column; gap: 12px; }
.card h2 { font-size: 0.95rem; color: var(--soft); font-weight: 600; }
.card .verdict { font-size: 2.2rem; line-height: 1.1; font-weight: 700; margin-top: -8px; }
.card.positive .verdict { color: var(--positive); }
.card.negative .verdict { color: var(--negative); }
.card.problem { border-color: var(--positive); }
.card .what { font-weight: 600; font-size: 1.1rem; }
.card .check { font-size: 0.95rem; }
.card .check ul { margin: 6px 0 0; padding-left: 1.2em; list-style: disc; }
.card .by { padding-top: 12px; border-top: 1px solid var(--line); overflow-wrap: anywhere; }

.scale { margin: 6px 0 2px; font-size: 0.9rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.scale .track { position: relative; height: 18px; border-radius: 4px; background: var(--line); }
.scale .value { position: absolute; inset: 0 auto 0 0; background: var(--bar); border-radius: 4px 0 0 4px; }
.scale .called { position: absolute; inset: 0 0 0 auto; border-radius: 0 4px 4px 0; --stripe: rgb(128 128 128 / 0.45);
  background: repeating-linear-gradient(-45deg, transparent 0 5px, var(--stripe) 5px 7px); }
.scale .mark { position: absolute; top: -6px; bottom: -6px; width: 3px; margin-left: -1.5px; background: var(--ink); }
.scale .limit { color: var(--ink); margin-top: 8px; }
.scale .limit.start { padding-left: calc(var(--at) - 1.5px); }
.scale .limit.end { padding-right: calc(100% - var(--at) - 1.5px); text-align: right; }
.scale .ends { display: flex; justify-content: space-between; }

.waiting + .slow { visibility: hidden; animation: appear 0s 5s forwards; }
@keyframes appear { to { visibility: visible; } }
.waiting .dot { animation: pulse 1s ease-in-out infinite alternate; }
@keyframes pulse { to { opacity: 0.2; } }
@media (prefers-reduced-motion: reduce) { .waiting .dot { animation: none; } }

.many { display: flex; flex-direction: column; gap: 10px; }
.many-bar { width: 100%; height: 10px; accent-color: var(--bar); }
.many-scroll { max-height: 70vh; overflow: auto; border-radius: 8px; }
.many-scroll:focus-visible, .scroll:focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
.many table, .explored table, .monitored table { border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }
.many caption, .explored caption, .monitored caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
.many thead th { position: sticky; top: 0; background: var(--paper); }
.many :is(th, td), .explored :is(th, td), .monitored :is(th, td) { text-align: left; padding: 6px 12px 6px 0;
  border-bottom: 1px solid var(--line); font-weight: 400; }
.many thead button { font-weight: 600; min-height: 24px; color: var(--ink); }
.many th[aria-sort=ascending] button::after { content: " ▲"; }
.many th[aria-sort=descending] button::after { content: " ▼"; }
.many tbody tr { content-visibility: auto; contain-intrinsic-size: auto 64px; }
.many tbody small { display: block; color: var(--soft); max-width: 60ch; }
.many-name { overflow-wrap: anywhere; }
.many-picture { width: 84px; }
.many-picture img { display: block; background: #000; max-width: 72px; }
.many tr.failed strong { color: var(--positive); }
.many-track { position: relative; display: block; width: min(160px, 24vw); height: 8px; border-radius: 4px;
  background: var(--line); margin-top: 4px; }
.many-value { position: absolute; inset: 0 auto 0 0; background: var(--bar); border-radius: 4px; }
.many-mark { position: absolute; top: -3px; bottom: -3px; width: 2px; background: var(--ink); }
#many-news, #many-file { display: none; }

.explored { display: flex; flex-direction: column; gap: 14px; }
.explored dl, .monitored dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr));
  gap: 12px 24px; }
.explored dt, .monitored dt { color: var(--soft); font-size: 0.9rem; }
.explored dd:not(.quiet), .monitored dd { font-size: 1.3rem; font-weight: 600; overflow-wrap: anywhere; }
.explored dd small { font-weight: 400; font-size: 0.9rem; color: var(--soft); }
.explored h3, .monitored h3, .failures h3, .plots h3 { font-size: 1.1rem; font-weight: 600; }
.scroll { overflow-x: auto; }
.people { width: min(100%, 640px); }
.people .found, .key.found { fill: #0072b2; background: #0072b2; }
.people .missed, .key.missed { fill: #d55e00; background: #d55e00; }
.people .false_alarms, .key.false_alarms { fill: #e69f00; background: #e69f00; }
.people .cleared, .key.cleared { fill: #8fb7cc; background: #8fb7cc; }
.people-legend { display: flex; flex-wrap: wrap; gap: 4px 20px; list-style: none; padding: 0; }
.people-legend .key { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 2px; }
.monitored { display: flex; flex-direction: column; gap: 18px; }
.failures { flex: 1 1 100%; }
.failures ul { padding-left: 1.2em; list-style: disc; margin-top: 6px; }
.plots > div { display: flex; flex-wrap: wrap; gap: 24px; }
.plots figure { flex: 1 1 300px; max-width: 460px; }
.plots { --faint: var(--line); --normal: var(--bar); --pneumonia: var(--positive); }
.plots svg { width: 100%; height: auto; }
.document { overflow-x: auto; }

.about { padding: 4px 2px; font-size: 0.95rem; }
.about { display: flex; flex-wrap: wrap; gap: 24px 48px; }
.about dl { flex: 1 1 320px; display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr));
  align-content: start; gap: 12px 24px; }
.about dt { color: var(--soft); font-size: 0.9rem; }
.about dd { overflow-wrap: anywhere; }
.about .table { flex: 1 1 320px; overflow-x: auto; }
.about table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.about caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
.about :is(th, td) { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; font-weight: 400; }
.about thead th { font-weight: 600; }
.about small { color: var(--soft); font-weight: 400; }
"""

HEAD = (
    '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
    "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='6' fill='%2305070a'/%3E%3Cpath d='M14 6v12q0 8-6 8-3 0-3-5Q5 12 11 8z"
    "M18 6v12q0 8 6 8 3 0 3-5Q27 12 21 8z' fill='%234db5e6'/%3E%3C/svg%3E\">"
)


def theme() -> "gradio.themes.Base":
    """Gradio's own theme in the system's fonts: nothing is fetched for them."""
    import gradio

    base = gradio.themes.Default(
        primary_hue=gradio.themes.colors.sky,
        neutral_hue=gradio.themes.colors.slate,
        font=[gradio.themes.Font("system-ui"), gradio.themes.Font("sans-serif")],
        font_mono=[gradio.themes.Font("ui-monospace"), gradio.themes.Font("monospace")],
    )
    # The theme's own button is lighter: white on it reaches 2.8:1.
    return base.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )
