# %% [markdown]
# # Fit a scaling law, and find out what it does not say
#
# Loss often falls with data along a straight line on logarithmic axes, and a straight line asks to
# be drawn further. We do it with care: on points of a law that we planted, so that every answer can
# be checked, then on a real ladder, in which no law holds. No torch, no network, under a minute.

# %%
import hashlib
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

from worldpm.evals.multiple import benjamini_hochberg
from worldpm.report.scaling_figures import plot_scaling
from worldpm.scaling.forecast import forecast, read_forecast, score_forecast, write_forecast
from worldpm.scaling.intervals import critical_ratios, profile
from worldpm.scaling.law import fit_law
from worldpm.scaling.points import Points, read_points
from worldpm.scaling.study import study
from worldpm.scaling.trend import trend_test

TABLE = next(q for p in Path("x").resolve().parents if (q := p / "docs/data/ladder.csv").is_file())
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## 1. A law we planted
#
# `loss = 0.4 + 3 pairs^-0.3`: a floor of 0.4 nats that no data goes below, an exponent of 0.3, and
# noise of one per cent, as if runs had been trained.

# %%
FLOOR, A, ALPHA = 0.4, 3.0, 0.3
rng = np.random.default_rng(7)


def train_on(pairs):
    """The losses that runs on so many pairs would show."""
    loss = (FLOOR + A * pairs**-ALPHA) * np.exp(0.01 * rng.normal(size=len(pairs)))
    return Points(None, pairs, loss, None, ({},) * len(pairs), "pairs")


wide = train_on(np.repeat(np.geomspace(1e3, 1e7, 13), 2))  # four decades, two seeds
law = fit_law(wide, "power-floor", seed=0, resamples=400)
for (name, found), planted in zip(law.parameters.items(), (FLOOR, A, ALPHA), strict=True):
    print(f"{name:6} {found.value:6.3f}   [{found.low:.3f}, {found.high:.3f}]   planted: {planted}")
pictures = plot_scaling(study(wide, "power-floor", y="loss", seed=0), work / "planted")
Image(pictures[1].read_bytes(), width=500)

# %% [markdown]
# Planted values are inside their intervals, as in 95 of 100 studies
# ([counted](../concepts/scaling-laws.md)).
#
# ## 2. Which shape is it?
#
# If you do not know, `"auto"` asks first whether there is a trend at all, then weighs each shape's
# fit against its parameters: AICc, and what is within 2 of the best is as good. The last column
# needs no theory: fitted to the smaller amounts alone, how far off is the shape on the largest?
# Beside the four decades we look at one, which many studies have.

# %%
narrow = train_on(np.repeat(np.geomspace(1e3, 1e4, 13), 2))
for points, name in ((wide, "four decades"), (narrow, "one decade")):
    choice = fit_law(points, "auto", seed=0, resamples=100).choice
    print(f"{name}: {choice.form}, {choice.reason}")
    for each in choice.candidates:
        print(f"    {each.fit.form.name:12} {each.over_best:6.1f} {each.extrapolation:7.1%}")

# %% [markdown]
# ## 3. What the points cannot tell
#
# Over one decade (orange) a low floor with a small exponent bends as a high floor with a large one
# does. Hold the floor at each value in turn and refit the rest: how much worse is the fit?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), dpi=80, layout="tight")
floors, reach = np.linspace(0.01, 0.7, 300), np.geomspace(1e3, 1e7, 80)
for points, name, colour in ((wide, "four decades", "#0072B2"), (narrow, "one decade", "#D55E00")):
    own = fit_law(points, "power-floor", seed=0, resamples=400)
    print(name, *(own.warnings or ["floor and exponent are settled"]), sep=": ")
    worse = profile(own.fit, 0, np.log(floors)) / critical_ratios(own.draws)[0]
    left.plot(floors, worse, color=colour, label=name)
    band = own.band(np.log(reach[None]))
    low, high = ([each[end] for each in band] for end in ("low", "high"))
    right.fill_between(reach, low, high, color=colour, alpha=0.25, lw=0)
    right.plot(points.data, points.value, ".", color=colour)
left.axhline(1, color="grey", ls="--")
left.set(ylim=(0, 4), xlabel="floor held at", ylabel="how much worse (1: too much)")
right.plot(reach, FLOOR + A * reach**-ALPHA, "k--", lw=1)
_ = right.set(xscale="log", xlabel="pairs", ylabel="loss", title="95 % bands; dashed: planted")

# %% [markdown]
# Left: four decades (blue) know the floor closely. One decade has every floor under the dashed line
# as good, none at all included: read no exponent without its floor, and neither without its
# interval. Right: what that means a few decades further on.
#
# ## 4. A forecast, written down before
#
# The honest test of a law is a run that was not in it. A forecast carries a hash of its points and
# of itself: whoever publishes that can be held to it, and an altered file is refused. We make two
# from the one decade: with the shape that is true, and with the line that AICc does not tell from
# it.

# %%
targets = [{"data": pairs} for pairs in (1e5, 1e6, 1e7)]
seen = hashlib.sha256(narrow.value.tobytes()).hexdigest()
for form in ("power-floor", "power"):
    made = forecast(narrow, form, targets, seed=0, resamples=400, sha256=seen, source="narrow")
    write_forecast(work / f"{form}.json", made)
observed = train_on(np.array([1e5, 1e6, 1e7]))  # only now are the large runs trained
for form in ("power-floor", "power"):
    result = score_forecast(read_forecast(work / f"{form}.json"), observed)
    print(f"{form}: {result['inside']} of {len(targets)} inside")
    for row in result["scored"]:
        print("    {data:10,.0f}: [{low:.3f}, {high:.3f}], {observed:.3f} observed".format(**row))

# %% [markdown]
# An interval holds for its shape; none knows of a bend that no point has seen.
#
# ## 5. A real ladder, without a law
#
# `docs/data/ladder.csv` is ours: 1.1 and 3.2 million parameters (and two runs of 10 million) from
# random weights, on 250 to 7,500 comparisons, two seeds, evaluated on ten suites. Before any fit:
# does anything move with data? Ten suites are ten tests, so we read q, which allows for that.

# %%
for y in ("loss", "controlled_loss", "accuracy"):
    suites = read_points(TABLE, y=y).groups(["suite"])
    trends = [trend_test(own, seed=0) for own in suites.values()]
    q = benjamini_hochberg([each.p for each in trends])
    print(f"{y}: {sum(each <= 0.05 for each in q)} of {len(q)} suites move")
    for (name,), trend, each in zip(suites, trends, q, strict=True):
        if each <= 0.05:
            print(f"    {name:24} {'RISES' if trend.slope > 0 else 'falls'}, q = {each:.3f}")
own = read_points(TABLE)
shown = ("llmbar", "rewardbench subjective", "own-hh-rlhf")
own = own.take([i for i, x in enumerate(own.labels) if x["suite"] in shown and x["size"] != "10m"])
report = study(own, "auto", y="loss", seed=0, resamples=200)
Image(plot_scaling(report, work / "ladder")[1].read_bytes(), width=860)

# %% [markdown]
# Raw loss moves on many suites, and mostly the wrong way: more data, worse. Accuracy moves on none,
# nor does the loss with the replies' style controlled. Together: these models learn that longer is
# better and get surer of it with data, and suites become easy or hard by what length means in them.
# That is no law of learning. And two seeds of one size at one amount often lie further apart than
# amounts do. So we say "no law yet", and want more seeds, data and parameters. A study of your own:
# [ladders](../guides/ladders.md).
