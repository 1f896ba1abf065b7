# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading signs off the survivors
#
# A pruned layer is a matrix with holes. **How many of the missing weights' signs do the weights
# that are left give away, and what does it take to read them?**
#
# {cite:t}`zhang_roots` fill the holes by matrix completion, layer by layer, and report what share
# of the signs comes out right; their claim stands beside ours below. Nothing but the pruned model
# goes in. The paper describes SoftImpute {cite:p}`mazumder2010spectral`, while the code released
# with it runs a different iteration. Both are run here, and the released one turns out to be
# solving another problem.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["golf ball", "church", "parachute"]
images = 4
seed = 0
iterations = 12

# %% [markdown]
# ## What is solved
#
# Let $X \in \mathbb R^{m\times n}$ be a pruned layer, $\Omega$ the places that survive and
# $P_\Omega$ the map that keeps those and sets the others to zero. The paper looks for
#
# $$
# \min_M \tfrac12 \lVert P_\Omega(X) - P_\Omega(M) \rVert_F^2 + \lambda \lVert M\rVert_* ,
# $$
#
# its Eq. 1: a matrix that agrees with the survivors and whose singular values have a small sum
# $\lVert M\rVert_*$, the nuclear norm. Each round fills the holes with the current estimate (Eq.
# 3),
#
# $$
# Z = P_\Omega(X) + P_{\Omega^c}(M),
# $$
#
# and shrinks the singular values of $Z = U \operatorname{diag}(s)\, V^\top$ (Eq. 2),
#
# $$
# M \leftarrow \mathcal S_\lambda(Z) = U \operatorname{diag}\big((s_k-\lambda)_+\big) V^\top .
# $$
#
# Neither $\lambda$ nor a rank is stated. The released code computes full decompositions, starts
# from the mean of each column's survivors, and in each round takes for $\lambda$ **the smallest
# singular value of the current $Z$**. Then no singular value is cut off, $(s_k - s_{\min})_+ =
# s_k - s_{\min}$, and the round is
#
# $$
# z_{ij} \leftarrow z_{ij} - s_{\min}(Z)\,\big(U V^\top\big)_{ij} \qquad (i,j) \notin \Omega ,
# $$
#
# with the survivors put back. For $Z$ of full rank, $U V^\top$ (the polar factor) is the gradient
# of $\lVert Z\rVert_*$. So what is released is a gradient descent on the nuclear norm over the
# missing entries alone, with $s_{\min}$ for its step. It has no $\lambda$ to weigh; where it
# rests, the polar factor vanishes on the holes, which is the condition for
#
# $$
# \min_Z \lVert Z \rVert_* \quad\text{subject to}\quad P_\Omega(Z) = P_\Omega(X),
# $$
#
# the limit $\lambda\to0$ of Eq. 1. Two things follow. The right singular vectors and a GPU are
# not needed: $U V^\top = (ZZ^\top)^{-1/2} Z$ takes one eigendecomposition of the smaller Gram
# matrix, which is what `rbtc.attack.completion` does. And the paper's second advantage, never
# forming $Z$ densely, buys nothing here, where most entries are observed.

# %%
import pandas as pd

from rbtc.report import charts, comparisons, curves, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters
from rbtc.studies.completion_benchmark import growth_figure, race_figure, read_benchmark

found, run = chapters.study(
    "02_matrix_completion", profile, live=live, results=results,
    concepts=concepts, images=images, seed=seed, iterations=iterations,
)  # fmt: skip
study, steps = found.completion, found.descent
run

# %% [markdown]
# ## Look first
#
# Before any counting: what the completed weights draw. *Completed as is* writes the estimates into
# the holes, sign and size. *Whole attack* keeps the signs of the larger estimates only, and gives
# them a size of its own; that is the subject of the next two chapters. Same prompt in a line, same
# noise in the same place.

# %%
plates.picture_grid(study.images)

# %% [markdown]
# ## Is it a descent?
#
# The claim above can be checked. One layer of the first concept is followed in float64. Each
# round is taken twice, as printed and as a gradient step. And the slope of the nuclear norm that
# the polar factor predicts, along itself and along a random direction in the missing entries, is
# compared with the one that a small change shows.

# %%
pd.Series(
    {
        "layer": steps.layer,
        "difference of the two forms, of the step": f"{steps.frame['update_error'].max():.0e}",
        "of the two slopes, of the steepest": f"{steps.frame['gradient_error'].max():.0e}",
        "steps in which the nuclear norm fell": f"{steps.falls} of {len(steps.frame) - 1}",
        "its fall in all": tables.percent(steps.fallen, 2),
    }
).to_frame("found")

# %%
tables.save_csv(steps.frame, "02_descent")
steps.frame.set_index("iteration")

# %% [markdown]
# ## Signs, layer by layer
#
# The share of missing weights whose estimated sign is that of the weight before pruning. Half is
# what a coin gets. The intervals are those of independent weights, which neighbours in a matrix are
# not, so they are too narrow rather than too wide.

# %%
by_layer = study.by_layer()
tables.save_csv(tables.long_form(by_layer), "02_signs_by_layer")
charts.bars_with_intervals(by_layer, ylabel="share of right signs", limits=(0, 1.02))

# %% [markdown]
# All layers together, concept by concept. The paper's number, the black mark, exists for one
# concept only: it follows from Table 6, where $K$ times the accuracy of the top $K$ and $1-K$
# times that of the rest add up to the accuracy of all.

# %%
charts.bars_with_intervals(
    study.by_concept(), paper=study.paper(), ylabel="share of right signs", limits=(0, 1.02)
)

# %%
rows = study.rows()
tables.save_csv(comparisons.records(rows), "02_sign_accuracy")
comparisons.comparison(rows)

# %% [markdown]
# All concepts together, and how far the share lies from a coin's half over layers and concepts. The
# control is the same on shuffled weights. The paper claims more than the last line.

# %%
pd.DataFrame(
    {
        "share of right signs": {
            "weights": f"{study.accuracy():.3f}",
            "shuffled weights": f"{study.accuracy('shuffled weights'):.3f}",
            "the paper's claim": f"{study.claim:.3f}",
        },
        "from a half": {
            "weights": f"{study.over_chance():+.3f}",
            "shuffled weights": f"{study.over_chance('shuffled weights'):+.3f}",
        },
    }
).fillna("")

# %% [markdown]
# ## What the layers look like
#
# Completion works to the extent that a layer's rows have something in common. The singular values
# of the first concept's layers, each divided by the largest of its layer, show how much: a curve
# that falls steeply belongs to a matrix with few directions, a flat one to a matrix whose entries
# say little about each other.

# %%
curves.curves(
    study.spectrum(),
    x="place",
    y="value",
    series="layer",
    log_y=True,
    xlabel="singular value, as a share of their number",
    ylabel="relative to the largest",
    title="before pruning",
)

# %% [markdown]
# Per layer: the effective rank (the exponential of the entropy of the singular values, as a share
# of the largest possible), the nuclear norm before pruning, after it, and completed, and the
# signs. The completion seeks the smallest nuclear norm that fits the survivors, so the completed
# one should lie below that of the pruned layer, and it may well lie below that of the true
# weights.

# %%
structure = study.structure()
tables.save_csv(study.spectra, "02_spectra")
tables.save_csv(structure, "02_structure")
structure.round(3)

# %% [markdown]
# ## How long it takes
#
# The residual that the released stopping rule looks at: the relative change of the whole matrix
# against the iterate *two* steps back, tested from the second iteration on. The dashed line is its
# tolerance.

# %%
tables.save_csv(study.residuals, "02_residuals")
curves.curves(
    study.residuals,
    x="iteration",
    y="residual",
    series="layer",
    log_y=True,
    level=1e-5,
    xlabel="iteration",
    ylabel="residual",
    title="released",
)

# %% [markdown]
# ## Other ways to the same signs
#
# | row | what it is |
# |---|---|
# | column means | where the released iteration starts, and no completion at all |
# | released, one step | a single gradient step |
# | released | the released iteration until its residual is small |
# | released, stopped early | the same, stopped once hardly a sign flips in a step |
# | softimpute | Eq. 1 along a path of falling $\lambda$ with warm starts, the paper's text |
# | svt | Eq. 1 at one $\lambda$, a fiftieth of the largest singular value |
# | shuffled weights | a control: released, on the same masks and numbers in random order |
#
# Seconds are for all layers of one model on the device named at the top of the page, as measured
# when the result was first computed.

# %%
solvers = study.race()
tables.save_csv(solvers, "02_solvers")
solvers

# %% [markdown]
# The change is paired over layers and concepts, with its 95 % t interval.

# %% [markdown]
# ## Which of them stands behind the paper's tables?
#
# The text describes the row *softimpute*; the authors' release runs the row *released*. The two
# end in different places, the path at a $\lambda$ above zero and the released iteration at its
# limit, so their signs need not agree. Where the interval of the change holds zero, no share of
# right signs can tell which of them made the paper's tables. The text does not state the path's
# $\lambda$, nor a rank nor a tolerance, so it cannot be run as theirs: everything else in this
# book completes with *released*.

# %%
tables.effects_table({"released to softimpute": study.change("released", "softimpute")},
                     pictures=False)  # fmt: skip

# %% [markdown]
# ## At the size of Stable Diffusion v1.5
#
# The benchmark (`python benchmarks/completion.py --growth`) completes sixteen matrices of SD
# v1.5's shapes, whose weights are drawn with a spectrum of the kind that such layers have, and the
# miniature's own layers. It needs minutes of a machine that does nothing else, so this page only
# reads its tables. *The loop* is the released iteration as it is written: a full singular value
# decomposition in float64 a step, on large matrices timed for single steps and multiplied by the
# number of steps that it takes. Ours complete the layers side by side, one a thread, as the attack
# does; the others take them one after the other, each with all threads. The last two columns
# compare with where the loop ends.

# %%
speed = read_benchmark()
race_figure(speed.contenders)

# %%
speed.bars()

# %% [markdown]
# An iteration whose inverse root is computed runs near what the rates of a matrix product and of a
# copy allow (below). So the faithful mode computes fewer of them: where the path is smooth enough,
# by a measure taken along the way, it forecasts the rest. On a card the inverse root is made of
# float64 products alone, because a card is far quicker at them than at a decomposition.

# %%
speed.table("sd-v1.5")

# %%
speed.table("emoji-sd")

# %% [markdown]
# The others run at one small shape only: they take a matrix with holes, and know nothing of
# weights.

# %%
speed.table("small")

# %%
speed.absent()

# %% [markdown]
# ### How near to the hardware's limit
#
# One iteration on a matrix of the largest shape, part by part: the floating-point operations it
# needs, the bytes that have to move, the time it takes and the least time that the rates of a
# matrix product and of a copy, measured in the same run, allow. This is an iteration whose inverse
# root is computed. After the first steps the root moves along a smooth path, and a parabola
# through the last three replaces most of the computations: wherever one is made, it shows how far
# off the parabola was, and that decides how many steps may be forecast next.

# %%
speed.limits()

# %% [markdown]
# ### How the cost grows
#
# One axis at a time, the others at their base value; the number is the fitted exponent.
# *released* is the cost of ten steps, *fast* that of all the steps it takes until the signs rest.

# %%
growth_figure(speed.growth)
