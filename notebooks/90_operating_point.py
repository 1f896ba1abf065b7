# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How the operating point was chosen
#
# The paper prunes Stable Diffusion with one ratio over the first UNet calls, against prompts of
# bare scenes. Another model needs another point. **How much has to be pruned here, how was that
# decided, and for which concepts does it not work?**
#
# A choice made on the classes a book reports flatters the book. So it was made on other concepts of
# the model, evenly spaced in its vocabulary, none of which any other chapter shows, by one command:
# `python -m rbtc.studies.operating_point`.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
ratios = [0.02, 0.05, 0.1, 0.15]
images = 12

# %% [markdown]
# ## Two choices, two people
#
# **The owner** wants one concept gone and the others kept, and knows of no attack. Let $e$ be the
# share of the pretrained model's accuracy that the erased concept keeps, and $p$ the share that the
# other held-out concepts keep. Among the settings that cut no more than a given share of the
# weights, the owner takes the one with the largest lead $p - e$. Three things vary: the *ratio* of
# each row that is a candidate at each UNet call, the number $T$ of *calls* united, and what the
# *reference* prompts show: the bare scene, or other objects in the same scene.
#
# **The attacker's $K$** is then the one that revives most of those pruned models. Note that this
# uses the held-out concepts' pictures, which a real attacker of a model has not got; the paper's
# $K$ was found on its own classes.

# %%
from rbtc.report import charts, tables
from rbtc.stats import Proportion
from rbtc.studies import chapters, operating_point

sweep, attacks = operating_point.read_sweeps()
settings = operating_point.settings_table(sweep)
settings.drop(columns=settings.filter(regex="_hits$|_n$")).round(3)

# %% [markdown]
# *Density* is the share of weights cut, *erased* and *preserved* are accuracies on the erased
# concept and on the other held-out ones, *kept* is their share of the pretrained model's, over all
# concepts.

# %% [markdown]
# The owner's choice, which the profile holds:

# %%
choice = operating_point.choose_pruning(sweep)
choice.to_frame("chosen")

# %% [markdown]
# How far each concept goes at that setting: pictures recognised out of those drawn, before pruning
# ($\text{ratio} = 0$) and at every ratio of the chosen $T$ and reference.

# %%
settled = sweep["reference"].isin(["", choice["reference"]])
settled &= sweep["calls"].isin([0, choice["calls"]])
held_out = sweep[settled].pivot(index="concept", columns="ratio", values="erased_hits")
held_out.assign(of=sweep["erased_n"].iloc[0])

# %% [markdown]
# ## K
#
# Accuracy on the erased held-out concepts and on the others after the attack; $K = 0$ is the pruned
# model.

# %%
pooled = attacks.groupby("keep_ratio")[
    ["erased_hits", "erased_n", "preserved_hits", "preserved_n"]
].sum()
charts.lines_with_intervals(
    {
        part: {k: Proportion(int(row[f"{part}_hits"]), int(row[f"{part}_n"]))
               for k, row in pooled.iterrows()}
        for part in ("erased", "preserved")
    },
    xlabel="K, share of signs kept",
    ylabel="accuracy",
    limits=(0, 1.02),
)  # fmt: skip

# %% [markdown]
# ## What it does to the paper's classes
#
# Nothing was chosen from here on. All twelve classes, pruned at several ratios with the chosen $T$
# and reference, then attacked with the chosen $K$.

# %%
study, run = chapters.study(
    "90_operating_point", profile, live=live, results=results,
    concepts=concepts, ratios=ratios, images=images,
)  # fmt: skip
run

# %%
hits = study.hits
charts.lines_with_intervals(
    {
        name: {
            ratio: share
            for (model, ratio), share in tables.accuracies(hits, ["model", "ratio"]).items()
            if model.startswith(name)
        }
        for name in ("pruned", "revived")
    },
    xlabel="ratio of pruning",
    ylabel="accuracy on the erased class",
    limits=(0, 1.02),
)

# %% [markdown]
# Class by class: the model fails as an example of the paper where pruning leaves a class standing,
# or where the attack does not bring it back.

# %%
by_class = operating_point.class_table(hits)
tables.save_csv(by_class, "90_ratio_sweep")
by_class.round(2)

# %% [markdown]
# The share of weights that each ratio cuts, and the paired change that the attack makes there.

# %%
density = hits[hits["ratio"] > 0].groupby("ratio")["density"].mean()
density.to_frame("density").round(3)

# %%
tables.effects_table(
    {f"ratio {r:g}": tables.effect(hits, f"pruned, {r:g}", f"revived, {r:g}")
     for r in study.ratios},
    "pruned to revived",
)  # fmt: skip
