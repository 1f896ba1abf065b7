# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which signs to trust
#
# Matrix completion gives every missing weight an estimate, and some of the signs are wrong. An
# attacker cannot check them. **Does the size of an estimate tell whether its sign can be trusted?**
#
# Appendix B of {cite:t}`zhang_roots` says so, on the golf ball: large estimates stand where large
# weights stood (Table 5), and their signs are right more often (Table 6). That is the case for
# Top-K Sign Retention, which keeps the signs of the largest estimates and drops the others.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["golf ball", "church", "parachute"]
ratios = [0.2, 0.3, 0.5, 0.7, 0.9]
shown = [0.2, 0.6, 1.0]
images = 4
seed = 0

# %% [markdown]
# ## Two questions about size
#
# Let $\hat w$ be the estimates at the $N$ cut places of a layer and $w$ the weights that stood
# there.
#
# **Rank.** Sort the places by $\lvert\hat w\rvert$ and cut them into five groups of equal count,
# $R_1$ (largest) to $R_5$; sort them by $\lvert w\rvert$ into $P_1$ to $P_5$. The alignment
# matrix is
#
# $$
# A_{ij} = \frac{\lvert R_i \cap P_j \rvert}{\lvert R_i \rvert} .
# $$
#
# It is the identity if both orders agree, and $1/5$ everywhere if they have nothing to do with each
# other. The paper speaks of "equal-magnitude" partitions; its printed rows and columns both add up
# to nearly one, which only groups of equal *count* do.
#
# **Sign.** For a share $K$, compare
#
# $$
# \Pr\big[\operatorname{sign} \hat w = \operatorname{sign} w \,\big|\, \text{top } K\big]
# \quad\text{with}\quad
# \Pr\big[\operatorname{sign} \hat w = \operatorname{sign} w \,\big|\, \text{rest}\big],
# $$
#
# the top $K$ taken per layer by $\lvert\hat w\rvert$, as the attack takes it. Counts are pooled
# over layers.

# %%
import pandas as pd

from rbtc.report import comparisons, heat, lines, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "03_topk_alignment", profile, live=live, results=results,
    concepts=concepts, ratios=ratios, shown=shown, images=images, seed=seed,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# The attack with few of the signs, with some, with all of them. A kept sign gets the largest
# magnitude of its row, whatever its estimate was, so the only thing that changes along a line is
# how many signs are written back.

# %%
plates.picture_grid(study.images)

# %% [markdown]
# ## Do large estimates stand where large weights stood?
#
# Table 5 of the paper beside the same for our model, for the first concept alone and then for all
# of them, ranked layer by layer. The brighter the diagonal, the better the order is recovered.

# %%
heat.heat_maps(study.heat_maps(), xlabel="group before pruning", ylabel="group of the estimate")

# %% [markdown]
# ## Are their signs right more often?
#
# Table 6: the top $K$ and the rest, with 95 % intervals; dashed lines are the paper's. Every top
# line would meet the overall accuracy at $K = 1$, beyond the right edge. What an attacker needs is
# a gap between the lines.

# %%
shares = study.shares()
tables.save_csv(tables.long_form(shares), "03_signs_by_k")
lines.lines_with_intervals(
    shares,
    paper=study.paper_lines(),
    title="all concepts",
    xlabel="K",
    ylabel="share of right signs",
    limits=(0, 1.02),
)

# %% [markdown]
# The first concept alone, beside the paper's golf ball. The change is that from the rest to the top
# $K$, paired over layers.

# %%
tables.save_csv(comparisons.records(study.rows()), "03_table_06")
tables.save_csv(study.frame(), "03_table_05")
comparisons.comparison(study.rows(), verdicts=True)

# %% [markdown]
# The weights of a layer are not independent of each other, so the intervals of single shares are
# too narrow rather than too wide; the change is over layers and concepts. Concepts share many of
# their cut places, so its interval is rather too narrow, too.

# %%
tables.effects_table(study.changes(), "rest to top K", pictures=False)

# %% [markdown]
# Where the weights with the largest estimates were before pruning, and how much the diagonal of the
# matrix holds on average; the last line is what unrelated orders give.

# %%
matrix = study.everything
pd.Series(
    {
        "in the largest group": tables.percent(matrix.iloc[0, 0]),
        "in the smallest group": tables.percent(matrix.iloc[0, -1]),
        "on the diagonal": tables.percent(study.on_diagonal()),
        "unrelated orders": tables.percent(1 / len(matrix)),
    }
).to_frame("share")
