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
# bare scenes. Another model needs another ratio. **How much has to be pruned here, how was that
# decided, and for which concepts does it not work?**
#
# A choice made on the classes a book reports flatters the book. So it was made on other concepts
# of the model, evenly spaced in its vocabulary, by one command:
# `python -m rbtc.studies.operating_point`.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
ratios = [0.05, 0.1, 0.15, 0.2, 0.3]
images = 12

# %% [markdown]
# ## As hard as the paper's owner
#
# What the paper states is taken from it: reference prompts of bare scenes, and its $K$. Left to
# choose are the *ratio* of each row that is a candidate at each UNet call, and the number $T$ of
# *calls* united. **The owner** wants one concept gone, keeps the others as far as the paper's
# owner does, and knows of no attack. So of the settings at which the other held-out concepts keep
# at least the share of their accuracy that they keep in the paper's Table 1, it is the one with
# the lowest accuracy of the erased concept. How many weights it cuts is reported, and bounds
# nothing. The lines with other objects as reference stand beside them to compare, and cannot be
# chosen.

# %%
from rbtc.report import lines, tables
from rbtc.studies import chapters, operating_point

sweep, attacks = operating_point.read_sweeps()
settings = operating_point.settings_table(sweep)
settings.drop(columns=settings.filter(regex="_hits$|_n$")).round(3)

# %% [markdown]
# The share that the others must keep:

# %%
round(operating_point.paper_kept(), 3)

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
lines.lines_with_intervals(
    tables.nested(attacks, "classes", "keep_ratio"),
    xlabel="K, share of signs kept",
    ylabel="accuracy",
    limits=(0, 1.02),
)

# %% [markdown]
# $K$ is the paper's, 0.6, unless another one revives more by a paired test on these concepts: the
# same pictures under both. A real attacker has no such pictures; the paper's $K$ was found on its
# own classes.

# %%
tables.effects_table(
    {f"K = {k:g}": one for k, one in operating_point.keep_effects(attacks).items()},
    "against the paper's K",
)

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
lines.lines_with_intervals(
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
