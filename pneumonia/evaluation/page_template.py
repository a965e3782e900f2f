"""Words and looks of the evaluation page: its templates, what each figure means, and its style sheet."""

from string import Template

# Title and plain meaning of each figure, in the order of the page.
MEANINGS = {
    "auroc": ("AUROC", "How often a PNEUMONIA film scores above a NORMAL one. 0.5 is chance."),
    "sensitivity": ("Sensitivity", "Share of PNEUMONIA films that were called PNEUMONIA."),
    "specificity": ("Specificity", "Share of NORMAL films that were called NORMAL."),
    "ppv": ("PPV", "Share of films called PNEUMONIA that are. Depends on how common it is here."),
    "npv": ("NPV", "Share of films called NORMAL that are. Depends on how common it is here."),
    "accuracy": ("Accuracy", "Share of films called what they are."),
    "f1": ("F1", "Harmonic mean of sensitivity and PPV."),
    "average_precision": ("Average precision", "PPV averaged over every sensitivity."),
    "ece": ("ECE", "Mean gap between the probability said and the share seen. 0 is best."),
    "brier": ("Brier score", "Mean squared error of the probability. 0 is best."),
    "log_loss": ("Log loss", "Mean surprise at the true label, in nats. 0 is best."),
}

BANNER = (
    '<p class="banner" role="note"><strong>Synthetic data.</strong> These films are drawn phantoms. The figures say '
    "that the software runs, and nothing about patients.</p>"
)

FIGURE = Template("<figure><h3>$title</h3>$svg<figcaption>$caption</figcaption></figure>")

TABLE = Template(
    '<div class="scroll" tabindex="0" role="region" aria-label="$caption"><table><caption>$caption</caption>'
    "<thead><tr>$head</tr></thead><tbody>$body</tbody></table></div>"
)

NOTES = Template("""<ul>
<li>Intervals are $level percentile intervals of a bootstrap of $resamples resamples. Patients are drawn, with all
their films, because films of one patient are alike (Efron and Tibshirani 1993; Field and Welsh 2007).</li>
<li>An interval without width (1.000-1.000) means that no resample could differ, not that there is no doubt: in few
films a share of exactly 0 or 1 happens easily.</li>
<li>ECE has 15 bins of equal width (Guo et al. 2017) and is biased upward in few films, more so in resamples; where its
interval would lie above its value, it is widened to it.</li>
<li>PPV and NPV hold where PNEUMONIA is as common as among these films. Elsewhere they are others.</li>
<li>&ldquo;Undefined&rdquo; is a share of no films, for example a sensitivity where no film is PNEUMONIA.</li>
<li>Temperature and threshold were not fitted on these films unless the split is the one that validated the model.</li>
</ul>""")

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #f4f6f8; --ink: #1d2733; --soft: #52606d; --faint: #d5dbe1;
  --normal: #0072b2; --pneumonia: #c65100; --warn: #fff3cd; --warn-ink: #5c4400; }
@media (prefers-color-scheme: dark) { :root { --paper: #14191f; --card: #1d242c; --ink: #e4e9ee; --soft: #a3b0bd;
  --faint: #35404b; --normal: #56b4e9; --pneumonia: #f08a4b; --warn: #4a3a00; --warn-ink: #ffe69c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .8rem; padding-bottom: .25rem; border-bottom: 1px solid var(--faint); }
h3 { font-size: .95rem; margin: 0 0 .3rem; }
p { margin: .4rem 0; }
.soft, .meaning, figcaption, caption, footer { color: var(--soft); font-size: .875rem; }
.disclaimer { font-weight: 600; }
.banner { background: var(--warn); color: var(--warn-ink); padding: .7rem 1rem; border-radius: .4rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.card, figure { background: var(--card); border-radius: .5rem; padding: .9rem 1rem; margin: 0; }
.card p { margin: 0; } .card .value { font-size: 2rem; line-height: 1.2; font-weight: 650; }
.card .limits { font-size: .875rem; } .card .meaning { margin-top: .4rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: .8rem; }
figure svg { display: block; width: 100%; height: auto; } figure svg text { font-family: inherit !important; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding: .2rem 0 .4rem; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--faint); vertical-align: top; }
thead th { white-space: nowrap; } tbody th { font-weight: 500; }
.confusion tr:nth-child(1) td:nth-child(2), .confusion tr:nth-child(2) td:nth-child(3) { font-weight: 650; }
.parts td, .unbroken { white-space: nowrap; } .parts tbody th { min-width: 14rem; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--faint); padding-top: .8rem; }
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --soft: #333; --faint: #bbb;
    --normal: #0072b2; --pneumonia: #c65100; --warn: #fff; --warn-ink: #000; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  .card, figure, .banner { border: 1px solid var(--faint); break-inside: avoid; }
  .plots { grid-template-columns: 1fr 1fr; } .cards { grid-template-columns: repeat(4, 1fr); }
  .scroll { overflow: visible; } tr { break-inside: avoid; } h2 { break-after: avoid; }
  .parts td { white-space: normal; } .parts tbody th { min-width: 0; } table { font-size: 8.5pt; }
}
"""

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>"""
    + STYLE
    + """</style>
</head>
<body>
<header>
<h1>Evaluation of <bdi>$model</bdi></h1>
<p>$scope</p>
<p class="soft disclaimer">$disclaimer</p>
$banner
</header>
<main>
<section><h2>At a glance</h2><div class="cards">$cards</div><p>$summary</p>
<div class="confusion">$confusion</div></section>
<section><h2>Plots</h2><div class="plots">$plots</div></section>
<section><h2>All figures</h2>$metrics</section>
<section class="parts"><h2>Parts of the split</h2>$subgroups</section>
<section><h2>Worst errors</h2><p class="soft">Wrong calls, those first whose true label was given the least
probability: films to look at, for mistakes of the model and of the labels.</p>$errors</section>
<section><h2>Where this comes from</h2><dl>$provenance</dl></section>
<section class="soft"><h2>How to read the figures</h2>$notes</section>
</main>
<footer><p>$disclaimer</p><p>Made by pneumonia $version.</p></footer>
</body>
</html>
"""
)
