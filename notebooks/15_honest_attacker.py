# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An honest attacker
#
# The defence of [](05_defense.ipynb) was judged by attackers with a budget, and by one who is
# told the noise. **How well does it hide the cut from an attacker who has nothing but the
# defended weights and uses all that they show, and is there a defence that hides it better?**
#
# {cite:t}`zhang_roots` leave both open: their Table 12 has one attacker, and their Eq. 7 takes as
# known what an attacker would have to find out.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["golf ball", "church"]
sigmas = [1e-6, 1e-2, 0.0316]
hidings = ["layer", "row", "resampled", "permuted", "correlated"]
share = 0.02
threshold_sigmas = 5.0
cutoff = 0.5
images = 6
other_images = 1
other_classes = 3
shown = 1
seed = 0
noise_seed = 0

# %% [markdown]
# ## What the attacker infers
#
# **From magnitudes.** The weights of a layer are taken for a mixture: a share $\alpha$ from
# $\mathcal N(0, \sigma_M^2)$, the modified ones, the rest from $\mathcal N(0, \sigma_U^2)$. All
# three are fitted to the layer by maximum likelihood (expectation maximisation); the rarer
# component is taken for the modified one, be it the narrower or the wider. Each weight then has the
# posterior of [](05_defense.ipynb), at every value and not only near zero.
#
# **From columns.** If the noise had the survivors' distribution, magnitudes would say nothing. But
# the columns of a matrix resemble each other; that is what lets the attack complete them. A
# survivor can be predicted from the rest of its column, noise cannot. With $C$ the covariance of
# the columns and $P = C^{-1}$, weight $w_{ij}$ of a Gaussian column has the conditional mean
#
# $$
# m_{ij} = w_{ij} - \frac{(P w_j)_i}{P_{ii}},
# $$
#
# its own column left out of $C$. Pruning takes columns rather than single weights, so each column
# $j$ has its own share $a_j$, and
#
# $$
# p_{ij} = \frac{a_j\, \mathcal N(w_{ij}; 0, \sigma_M^2)}
# {a_j\, \mathcal N(w_{ij}; 0, \sigma_M^2) + (1-a_j)\, \mathcal N(w_{ij}; m_{ij}, v_i)} .
# $$
#
# $C$, $v$, $a$ and $\sigma_M$ are found in turns from the defended weights. The *honest attacker*
# sets to zero and completes every place with $p_{ij}$ of at least the cutoff, one half: the places
# that are more likely modified than not. No constant of it was fitted to results; while it was
# built it was looked at on the weights of two of the twelve classes.
#
# ## What the defences copy
#
# | defence | a cut place gets |
# |---|---|
# | noise | $\mathcal N(0, \sigma_M^2)$, one $\sigma_M$ for all (the paper's) |
# | layer, row | $\mathcal N(0, \sigma^2)$, $\sigma$ that of the layer's or row's survivors |
# | resampled | the magnitude of a random survivor of the row, with a random sign |
# | permuted | the same, each survivor serving once before one serves twice |
# | correlated | a column drawn from $\mathcal N(0, C)$, $C$ that of the survivors |
#
# From top to bottom the fill has more of the survivors: their width, their distribution, their
# relation to each other. None of them depends on the values that were cut.

# %%
import pandas as pd
from IPython.display import display

from rbtc.report import comparisons, curves, fronts, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "15_honest_attacker", profile, live=live, results=results,
    concepts=concepts, sigmas=sigmas, hidings=hidings, share=share,
    threshold_sigmas=threshold_sigmas, cutoff=cutoff, images=images, other_images=other_images,
    other_classes=other_classes, shown=shown, seed=seed, noise_seed=noise_seed,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# One line per defence: the defended model, and what the honest attacker makes of it. The first line
# has the pruned model without a defence, and the attack on it.

# %%
plates.picture_grid(study.plate(), cell_width=0.9)

# %%
choice = study.choose()
shown_first = dict.fromkeys([*study.defences[: len(study.sigmas)], *choice.tied[:1]])
tables.effects_table(
    {defence: study.revival(defence) for defence in shown_first},
    "what the attack changes under",
)

# %% [markdown]
# ## What the fit finds
#
# The fitted parameters over the true ones, median over layers and concepts with quartiles; 1 is
# right. Where noise and survivors have one width, magnitudes hold nothing to fit, and the
# quartiles show how far the fit strays.

# %%
tables.save_csv(study.estimates, "15_estimates")
study.fit()

# %% [markdown]
# ## What the weights give away
#
# The ROC curve: of the cut places, the share that is named (up) when this share of the others is
# named too (across). The dotted diagonal is guessing. First from magnitudes, then from columns; no
# picture enters.

# %%
tables.save_csv(study.curves, "15_roc")
tables.save_csv(study.seen, "15_auc")
display(
    *(
        curves.curves(
            study.mean_curves(evidence),
            x="false_positive",
            y="true_positive",
            series="defence",
            title=f"from {evidence}",
            limits=(-0.02, 1.02),
            diagonal=True,
            xlabel="share of the survivors that is named",
            ylabel="share of the cut places found",
        )
        for evidence in ("magnitudes", "columns")
    )
)

# %% [markdown]
# The area under the curves, mean over the concepts and range: 1 finds every place, one half is
# guessing.

# %%
study.visibility()

# %% [markdown]
# Sweep of the cutoff, from columns: what share of all weights is named, how many of those were cut
# (precision), and how many of the cut ones are named (recall); means over the concepts.

# %%
tables.save_csv(study.sweeps, "15_sweeps")
study.sweep_table().round(2)

# %% [markdown]
# ## Table 12 again
#
# The paper's right half, three attackers on the same defended models and the same pictures: the
# fixed budget, the one who knows $\sigma_M$, and the one who infers the places. The change is that
# of the attack, from the defended model on.

# %%
tables.save_csv(tables.counts(study.hits), "15_accuracies")
tables.save_csv(comparisons.records(study.table_12()), "15_table_12")
comparisons.comparison(study.table_12(), verdicts=True)

# %%
tables.effects_table(study.gains(), "from attacker to attacker")

# %% [markdown]
# ## Which defence?
#
# One mark per defence. Up: accuracy on the erased class after the honest attack, to be low. Across:
# the AUC from columns, one half being hidden; the accuracy on the other classes, to be high; the
# erased class without an attack, to be low. Dotted is the pruned model without a defence, dashed
# the attack on it. The ring marks the recommended one.

# %%
trade_off = study.front()
tables.save_csv(trade_off, "15_front")
fronts.front(
    trade_off,
    name="defence",
    y="revived",
    panels={"auc": "AUC, columns", "preserved": "other classes", "erased": "erased, not attacked"},
    ylabel="erased class, attacked",
    levels=study.levels(),
    ringed=[choice.name] if choice.name else [],
)

# %%
study.front_table()

# %% [markdown]
# The rule: of the defences that raise the erased class and lower the others by no more than the
# margin, the one under which least comes back; of those that its pictures cannot tell from it, the
# one with the lowest AUC. Chosen on every other concept and tried on the rest.

# %%
pd.Series(
    {
        "chosen on": [one.label for one in choice.chosen_on],
        "chosen": choice.name,
        "not to be told from the best": choice.tied,
        "left out for what they cost": choice.costly,
        "of these an interval reaches within the margin": choice.doubtful,
    }
).explode().fillna("none").to_frame("defence")

# %%
study.tried_table(choice)
