# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Signs or magnitudes?
#
# A pruned weight is lost twice: its sign and its size are gone. An attacker will not get both back.
# **If only one of the two could be known, which one would bring the concept back?**
#
# Section 3 of {cite:t}`zhang_roots` asks this before any attack is built, in a world where one half
# of the truth is given away. The answer decides what the attack has to estimate, so this is the
# right place to start.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
images = 8
pictures = 1
seed = 0
draw_seeds = [2021]

# %% [markdown]
# ## Four refills
#
# Take a pruned matrix, with cut places $M$ and survivors $S_i = \{k : (i,k) \notin M,\ w_{ik} \neq
# 0\}$ in row $i$. The signed survivors of the row have mean $\mu_i$ and standard deviation
# $\sigma_i$; for each cut place draw $g_{ij} \sim \mathcal N(\mu_i, \sigma_i^2)$, once, and use the
# same draw in all refills. With the true weight $w_{ij}$ from before the pruning, set
#
# $$
# \begin{aligned}
# \hat w_{ij} &= \lvert w_{ij}\rvert \, \operatorname{sign}(g_{ij})
#   && \text{true magnitude, drawn sign,}\\
# \hat w_{ij} &= \operatorname{sign}(w_{ij}) \, \lvert g_{ij}\rvert
#   && \text{true sign, drawn magnitude,}\\
# \hat w_{ij} &= \operatorname{sign}(w_{ij}) \, \max_{k \in S_i} \lvert w_{ik}\rvert
#   && \text{true sign, neuron max,}\\
# \hat w_{ij} &= \operatorname{sign}(w_{ij}) \, \operatorname{mean}_{k \in S_i} \lvert w_{ik}\rvert
#   && \text{true sign, neuron average.}
# \end{aligned}
# $$
#
# The first two are the contest of the paper's Fig. 2. The last two ask what magnitude to choose
# once the signs are right: the largest or the mean one of the same *neuron*, which is a row of the
# matrix.
#
# None of this is an attack: every line of it reads the pretrained model.

# %%
from rbtc.report import comparisons, lines, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "01_sign_vs_magnitude", profile, live=live, results=results,
    concepts=concepts, images=images, pictures=pictures, seed=seed, draw_seeds=draw_seeds,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# One class per line, one model per column, the same noise in the same place. These are the first
# seeds that were counted.

# %%
plates.picture_grid(
    {
        label: {model.replace(" ", "\n"): found for model, found in line.items()}
        for label, line in study.pictures.items()
    },
    cell_width=1.1,
)

# %% [markdown]
# ## The paper's Fig. 2, with numbers
#
# The share of pictures in which the judge recognises the erased class. A thin line is one class,
# the thick one the mean over the classes with its 95 % interval.

# %%
lines.class_lines(
    {"erased class": study.hits},
    ylabel="accuracy on the erased class",
)

# %% [markdown]
# ## The table that Appendix A announces
#
# Fig. 2 comes without values, and Appendix A sends the reader to "Table 11" for them. But Table 11
# is about other unlearning methods and repeats Table 4: the table is not in the paper. Here it is
# for all classes of this model, class by class with 95 % intervals. The paper prints the first two
# columns in its Table 1, and they stand beside ours; for the refills there is nothing to set beside
# them but what the text says, which is the last table of this page.

# %% [markdown]
# Pictures behind each model; those that differ only in the draw of signs or magnitudes are
# averaged. The seeds of the draws are among the page's parameters.

# %%
study.hits.groupby("model", sort=False)["concept"].agg(classes="nunique", pictures="size")

# %%
tables.save_csv(tables.counts(study.hits), "01_sign_vs_magnitude")
rows = study.rows()
tables.save_csv(comparisons.records(rows), "01_table_appendix_a")
comparisons.comparison(rows, counts=False)

# %% [markdown]
# What each refill changes, from the pruned model. The first interval is over pictures and speaks
# of these classes; the second takes each class for one observation and speaks of classes like
# these. Then, in how many classes the change is one by its own interval. A class with few
# pictures may be undecided, which is no sign that nothing changed.

# %%
study.changes()

# %% [markdown]
# ## Why signs should matter more
#
# What a row computes changes by $\sum_j \hat w_{ij} x_j$, so a refill is as good as the angle it
# makes with what was cut. Let magnitude and sign be independent. Drawn signs are right as often as
# wrong, and the refill is at a right angle to the truth whatever its magnitudes. True signs give
#
# $$
# \cos(w, \hat w) = \frac{\mathbb E\lvert w\rvert \; \mathbb E\lvert\hat w\rvert}
# {\sqrt{\mathbb E w^2 \; \mathbb E \hat w^2}},
# $$
#
# which is $2/\pi$ for two independent Gaussians, and larger the less the magnitudes vary. Pruning
# cuts the large weights of a row, whose sizes are much alike: one common size then loses little. A
# refill with true magnitudes and drawn signs adds noise as loud as the signal was, and may well do
# worse than the zeros it replaces.
#
# The cosine says nothing about length. A neuron's mean may be shorter than what was cut, its
# maximum longer. The last column is measured on the weights, all layers as one vector, and
# averaged over the classes. The spread is the standard deviation over the classes; part of it is
# the sampling error of their pictures.

# %%
study.summary()

# %% [markdown]
# ## What the paper compares
#
# The *change* from one model to the other, picture by picture over all classes. The paper has all
# of them rise but the third, from the pruned model to true magnitudes with drawn signs. Claims C13
# to C17 of [the ledger](10_claims.ipynb) judge them.

# %%
tables.effects_table(study.contrasts(), "from one to the other")

# %% [markdown]
# The attack needs the other half of an answer: signs are worth having only if they can be found
# without the pretrained model. That is [the next chapter](02_matrix_completion.ipynb).
