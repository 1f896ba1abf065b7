# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Can it come back? An audit without the original
#
# How many signs the attack of {cite:t}`zhang_roots` finds is counted against the weights from
# before the pruning. Whoever holds only the pruned model, because it was downloaded or because the
# original must not be kept, cannot count that. **Can a publisher estimate what an attacker would
# find, from the pruned model alone?**
#
# The attack can be rehearsed on weights that are still there: hide some survivors, complete, and
# see whether *their* signs come back. What this says about the pruned weights depends on how much
# the hidden ones resemble them.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["church", "golf ball", "parachute", "French horn", "spider web", "candle"]
factors = [0.5, 1.0, 2.0]
share = 0.02
repeats = 1
seed = 0

# %% [markdown]
# ## Hide and complete
#
# Let $M$ be the pruned places of a matrix $W$. Choose a set $H$ of survivors, a small share of each
# row, complete from what is left, and count
#
# $$
# \hat a = \frac{1}{\lvert H\rvert} \sum_{(i,j)\in H}
#   \big[\operatorname{sign}\hat w_{ij} = \operatorname{sign} w_{ij}\big],
# \qquad \hat w = \text{completion of } W \text{ without } M \cup H .
# $$
#
# It is held against the accuracy $a$ on $M$ that the attack really has. Which survivors to hide?
#
# - **The largest in the row.** Pruning takes large weights, so the next largest seem the obvious
#   stand-ins.
# - **Any.** Drawn at random, each row alike.
# - **Like the cut.** Pruning scores a weight by $\lvert w_{ij}\rvert\, a_j$, and the activation
#   $a_j$ belongs to a whole column: the cut falls into few columns, and of those most is gone. The
#   share $c_j$ that is gone of a column stands in for its activation: draw survivors in proportion
#   to $\lvert w_{ij}\rvert\, c_j$.
#
# All three see the pruned model only, and none has a constant that was fitted. That the third takes
# magnitude *and* column into account, and not the column alone, was decided on two concepts that
# are not among the twelve classes (tiger and rocket), after a first look at two that are
# (church and mountain bike).

# %%
import pandas as pd
from IPython.display import Markdown

from rbtc.report import tables
from rbtc.report.calibration import calibration
from rbtc.studies import chapters

study, run = chapters.study(
    "13_audit", profile, live=live, results=results,
    concepts=concepts, factors=factors, share=share, repeats=repeats, seed=seed,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# A point per layer of a pruned model, for every class and several ratios of pruning. On the dashed
# line the estimate is right; below it, it promises the attacker too much.

# %%
tables.save_csv(study.lines, "13_audit")
calibration(
    study.panels(),
    xlabel="estimated share of right signs, from the pruned model alone",
    ylabel="true share",
    legend="ratio of pruning",
)

# %% [markdown]
# The same in numbers, with 95 % intervals. Every class meets every layer, so the intervals draw
# classes *and* layers anew (the pigeonhole bootstrap). The mean error is above zero where the
# estimate promises too much.

# %%
table = study.score_table()
tables.save_csv(table, "13_scores")
table

# %% [markdown]
# For a publisher the question is about the whole model. Here the layers count by how much was cut
# from them, as they do for an attacker.

# %%
table = study.model_table()
tables.save_csv(table, "13_models")
table

# %% [markdown]
# ## When it misleads
#
# By layer, for the choice with the smallest error: what was cut, the truth, the estimate, and how
# far off it is, signed and absolute.

# %%
best = study.best()
Markdown(f"Hidden: **{best}**.")

# %%
study.by("layer", best).round(2)

# %%
study.by("ratio", best).round(2)

# %% [markdown]
# Why? Hidden weights can differ from the cut ones in three ways: they lie in columns of which less
# is gone, they are smaller (the largest were taken), and they leave the matrix with more holes than
# the attacker has to fill. The correlation of the error with what could explain it, over layers,
# classes and ratios, for every choice:

# %%
study.reason_table()

# %% [markdown]
# ## The answer

# %%
models = study.models(best)["error"].abs()
pd.Series(
    {
        "hidden": best,
        "error of a layer, mean": f"{study.score(best, 'absolute error')}",
        "correlation with the truth": f"{study.score(best, 'correlation')}",
        "layers, of all classes and ratios": f"{len(study.own(best))}",
        "error of a whole model, mean": f"{models.mean():.2f}",
        "error of a whole model, largest": f"{models.max():.2f}",
    }
).to_frame("estimate")
