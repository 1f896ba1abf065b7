# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Cut by the gradient
#
# ConceptPrune finds a concept's weights by their activations. Other unlearning methods find them by
# their gradients. **If weights are cut that way, does the attack still bring the concept back?**
#
# {cite:t}`zhang_roots` take the weights that Scissorhands {cite:p}`wu2024scissorhands` and SalUn
# {cite:p}`fan2023salun` call critical, zero them, and attack as before. They report the same
# revival for both (App. E; Table 4, and Table 11, which repeats it).

# %% tags=["parameters"]
profile = "mini"
concepts = ["golf ball", "church", "parachute"]
images = 8
other_images = 1
forget = 48
passes = 4
loss_guidance = 1.0
wide = True
pictures = 2
seed = 0

# %% [markdown]
# ## Three ways to choose
#
# Let $D_f$ be the *forget set*: latents $x$ of pictures of the concept, with the embedding $c$ of
# their prompt. The loss of a batch $b$ of them is the one the model was trained with,
#
# $$
# L_b = \operatorname{mean}\, \big\lVert y_t - u_\theta\big(\sqrt{\bar\alpha_t}\,x +
# \sqrt{1-\bar\alpha_t}\,\varepsilon,\; t,\; c\big) \big\rVert^2 ,
# $$
#
# with noise $\varepsilon$ and a uniform time $t$, and the target $y_t$ that the scheduler names:
# $\varepsilon$ itself, or the velocity $\sqrt{\bar\alpha_t}\,\varepsilon-\sqrt{1-\bar\alpha_t}\,x$.
# With $g_b = \partial L_b / \partial w$, a weight $w$ scores
#
# | method | score | needs |
# |---|---|---|
# | ConceptPrune | $\lvert w\rvert$ times the norm of its input, against the reference | prompts |
# | SNIP (Scissorhands) | $\lvert w\rvert \sum_b \lvert g_b\rvert$ | gradients, $D_f$ |
# | SalUn | $\big\lvert \sum_b g_b \big\rvert$ | gradients, $D_f$ |
#
# and the highest scores over all chosen layers together are cut.
#
# ## Our protocol
#
# The paper prints neither the share, nor the layers, nor the data. Taken literally, SalUn marks
# half of all weights of the UNet, which no model would survive being zeroed, and Scissorhands marks
# weights of two self-attention blocks only, where the released attack does not look. Both then
# retrain what they mark. So what follows is our protocol, not the authors':
#
# - **Layers:** the 16 feed-forward output matrices that ConceptPrune cuts.
# - **Share:** exactly as many weights as ConceptPrune cuts for the same concept, so that the three
#   differ only in *which* weights they cut. They are set to zero and nothing is retrained.
# - **Forget set:** pictures that the pretrained model itself draws from ConceptPrune's target
#   prompts, kept as latents. They are generated, not real, and their seeds are none of those that
#   are judged below.
# - **Loss:** without guidance. The released class scripts of both methods guide inside the loss;
#   `loss_guidance` does that here.
#
# The attack is that of the other chapters, and sees the pruned weights only.

# %%
from IPython.display import display

import rbtc.book.stamp
from rbtc.lab import Lab
from rbtc.report import charts, tables
from rbtc.report import pictures as plates
from rbtc.studies.common import counts
from rbtc.studies.saliency import saliency_study

lab = Lab(profile)
study = saliency_study(
    lab,
    concepts,
    images,
    other_images=other_images,
    wide=wide,
    pictures=pictures,
    first_seed=seed,
    forget=forget,
    passes=passes,
    loss_guidance=loss_guidance,
)

# %% [markdown]
# ## Look first
#
# Each way of cutting, and the attack on it. Same prompt and same noise in every column.

# %%
plates.picture_grid(study.pictures)

# %% [markdown]
# ## What is cut
#
# Over all concepts: the weights in the chosen layers, the share that is cut, how much of the cut is
# ConceptPrune's too, rows that are cut as a whole (nothing is left to complete them from, so the
# attack leaves them zero), and the share of cut signs that the completion finds, with its interval.
# Half would be chance.

# %%
tables.save_csv(study.cuts, "09_cuts")
study.cut_table().style.format(precision=3)

# %% [markdown]
# ## Erased, and revived
#
# Accuracy on the erased class, one figure per method; diamonds are the paper's.

# %%
tables.save_csv(counts(study.hits), "09_saliency")
tables.save_csv(study.totals(), "09_totals")
tables.save_csv(study.effects(), "09_effects")
display(
    *(
        charts.bars_with_intervals(
            study.curves(method),
            paper=study.paper(method),
            title=method,
            ylabel="accuracy on the erased class",
            limits=(0, 1),
        )
        for method in study.methods("ff")
    )
)

# %% [markdown]
# The averages over these concepts beside the paper's over the same ones (ConceptPrune: its Table 1;
# the others: Table 11). The change of *pruned* is from the pretrained model, of *revived* from the
# pruned one. The paper prints the accuracy on the other classes once per method; it is taken for
# that of the revived model, and its change is from the pretrained one.

# %%
tables.save_csv(tables.records(study.rows()), "09_table_11")
tables.comparison(study.rows(), verdicts=True)

# %% [markdown]
# ## Attention and convolutions too
#
# Both methods were made for more layers than these 16. Here the same scores choose among all
# attention projections and convolutions as well, and cut the same *number* of weights as before,
# wherever the scores are highest. A convolution of shape (out, in, k, k) is completed as a matrix
# (out, in k²), so that a row is still a neuron.

# %%
plates.picture_grid(study.wide) if wide else None

# %% [markdown]
# ## What came out
#
# What the attack adds to each pruned model, picture by picture, over all concepts: first on the
# erased class, then what pruning took from the other classes.

# %%
display(
    tables.effects_table(study.revivals(), "pruned to revived, erased class"),
    tables.effects_table(study.costs(), "pretrained to pruned, other classes"),
)

# %%
rbtc.book.stamp.show(lab)
