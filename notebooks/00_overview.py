# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the paper found, what we found
#
# A concept is cut out of a diffusion model by setting some of its weights to zero. Somebody gets
# the cut model: no training data, no original weights, no list of what was removed. **Can the
# concept be brought back from what is left?**
#
# {cite:t}`zhang_roots` answer yes. Their owner prunes with ConceptPrune
# {cite:p}`chavhan2024conceptprune`; their attacker looks for the zeros, estimates what stood there
# from the weights around them, keeps the signs of the larger estimates, and gives each the largest
# magnitude left in its row. This page shows the whole story once, for the classes of the paper's
# Table 1. The chapters that follow take it apart.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
images = 25
other_images = 3
pictures = 4
seed = 0

# %% [markdown]
# ## The three models
#
# Write $W$ for one of the sixteen matrices that ConceptPrune may cut (the second linear layer of
# each feed-forward block; a row is one output unit) and $M$ for the set of places it does cut.
#
# | model | weight at a place in $M$ | made by |
# |---|---|---|
# | pretrained | $w_{ij}$ | training |
# | pruned | $0$ | the owner, with prompts that name the concept |
# | revived | $\hat s_{ij}\,\max_{k} \lvert w_{ik}\rvert$ or $0$ | the attacker, from the rest |
#
# All other weights stay as they are. The maximum runs over the survivors of row $i$, and
# $\hat s_{ij}$ is the sign that matrix completion finds; the attacker keeps it for the share $K$ of
# largest estimates of a matrix and leaves zero elsewhere. On the miniature a paper class is played
# by the emoji nearest to it, given in brackets where the name differs.
#
# What the attacker has to go by (`Lab.attacker.overview()`):

# %%
from rbtc.attack import threat_model

threat_model()

# %% [markdown]
# The models side by side:

# %%
from IPython.display import Markdown

from rbtc.report import charts, comparisons, markdown, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "00_overview", profile, live=live, results=results,
    concepts=concepts, images=images, other_images=other_images, pictures=pictures, seed=seed,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# Within a line all pictures answer the same prompt, and the pictures in the same place of each
# block start from the same noise. They are the first seeds that were counted, not the best ones.

# %%
figure = plates.picture_grid(study.pictures)
plates.save_picture(figure, "book/_static/overview.png")
figure

# %% [markdown]
# ## Then count
#
# A judge names what it sees in each picture. It is a network of its own, but it was trained on
# pictures of the same icons as the model. The accuracy on the *erased* class should be high, low,
# high from left to right; the accuracy on the *preserved* classes, which nobody wanted to touch,
# should stay high throughout. Black marks are the paper's numbers. They belong to another model
# and other pictures, so compare the steps, not the heights.

# %%
charts.bars_with_intervals(
    tables.nested(study.part("erased"), "model", "concept"),
    paper=study.paper(),
    ylabel="accuracy on the erased class",
    limits=(0, 1.02),
)

# %% [markdown]
# Over these classes, with 95 % intervals. All three models drew from the same prompts and seeds, so
# each step is measured picture by picture: *change* is the paired change from the line above, and
# the verdict compares its direction with the paper's. *Undecided* means that the interval of our
# change holds zero, *no effect printed* that the paper's own step lies within the sampling error of
# its pictures. The other classes' pictures recur for every erased concept; each counts once in the
# width of an interval.

# %%
tables.save_csv(tables.counts(study.hits), "00_overview")
comparisons.comparison(study.rows(), verdicts=True)

# %% [markdown]
# ## Concept by concept
#
# The change that pruning makes, and the change that the attack makes after it. *p* is the exact
# McNemar test on the pictures that changed; the last column is the smallest change that this many
# pictures could have told from none.

# %%
tables.effects_table(study.steps("pruned"), "pretrained to pruned")

# %%
tables.effects_table(study.steps("revived"), "pruned to revived")

# %%
summary = (
    "Pruning changes the accuracy on the erased class by "
    f"{study.step('erased', 'pretrained', 'pruned')}, to {study.accuracy('erased', 'pruned')}; the "
    f"attack by {study.step('erased', 'pruned', 'revived')}, to "
    f"{study.accuracy('erased', 'revived')}. On the other classes the changes are "
    f"{study.step('preserved', 'pretrained', 'pruned')} and "
    f"{study.step('preserved', 'pruned', 'revived')}."
)
table = comparisons.comparison(study.rows()).to_html(border=0, na_rep="").replace("\n", " ")
markdown.save(f"{summary}\n\n{table}", "book/_generated/overview.md")
Markdown(summary)

# %% [markdown]
# Prune ratio, calls, reference prompts and $K$ were chosen for this model on other concepts than
# these: [](90_operating_point.ipynb).

# %% [markdown]
# ## Watch it happen
#
# One concept from beginning to end. Below is the first one as it was measured: its first pictures,
# and in how many of all the judge saw it. To have it pruned, attacked and drawn anew instead, in
# front of you and with nothing read from an earlier run, execute this page with
#
# ```
# papermill notebooks/00_overview.ipynb out.ipynb -p live True
# ```
#
# `live` also measures the rest of the page, which takes longer than this cell;
# `-p images 4 -p other_images 1` keeps that short.

# %%
first, watched = study.subjects[0], study
if live:
    from rbtc.studies.measuring.overview import watch

    watched = watch(profile, first.word)
plates.picture_grid(watched.counted(first))

# %% [markdown]
# ## Where it goes from here
#
# - [](01_sign_vs_magnitude.ipynb): of a cut weight, is it the sign or the size that matters?
# - [](02_matrix_completion.ipynb): how many signs the zeros give away.
# - [](03_topk_alignment.ipynb): which of the recovered signs to trust.
# - [](04_nms_ablations.ipynb): how many to keep, and what size to give them.
# - [](05_defense.ipynb): hiding the zeros, and looking for them all the same.
# - [](90_operating_point.ipynb): how much to prune on this model, and for which concepts it fails.
