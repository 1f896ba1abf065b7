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
# {cite:p}`fan2023salun` call critical, zero them, and attack as before. They report a revival for
# both (App. E; Table 4, and Table 11, which repeats it).

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["golf ball", "church", "parachute"]
images = 8
other_images = 1
forget = 48
passes = 4
loss_guidance = 1.0
wide = True
budgets = [1.0, 0.0625]
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
# and the highest scores are taken.
#
# ## Our protocol
#
# The paper prints neither the share, nor the layers, nor the data. Taken literally, SalUn marks
# half of all weights of the UNet, which no model would survive being zeroed, and Scissorhands marks
# weights of two self-attention blocks only, where the released attack does not look. Both then
# retrain what they mark. So what follows is our protocol, not the authors':
#
# - **Layers:** the 16 feed-forward output matrices that ConceptPrune cuts, called *ff* below.
# - **Share:** of every matrix the share that ConceptPrune cuts of all of them for the same concept
#   (up to rounding). So the three methods differ only in *which* weights of a matrix they cut. The
#   weights are set to zero and nothing is retrained. Both released codes rank all weights together
#   instead; that is the section *Ranked together* below. We chose this after seeing that at this
#   share the joint ranking takes most of the weights of single matrices.
# - **Forget set:** pictures that the pretrained model itself draws from ConceptPrune's target
#   prompts, kept as latents. They are generated, not real, and their seeds are none of those that
#   are judged below.
# - **Loss:** without guidance. The released class scripts of both methods guide inside the loss;
#   `loss_guidance` does that here.
#
# The attack is that of the other chapters, and sees the pruned weights only.

# %%
from IPython.display import display

from rbtc.report import charts, comparisons, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "09_saliency", profile, live=live, results=results,
    concepts=concepts, images=images, other_images=other_images, forget=forget, passes=passes,
    loss_guidance=loss_guidance, wide=wide, budgets=budgets, pictures=pictures, seed=seed,
)  # fmt: skip
other = chapters.beside("09_saliency", profile, results)
run

# %% [markdown]
# ## Look first
#
# Each way of cutting, and below it the attack on it. Same prompt and same noise in every column.

# %%
plates.picture_grid(study.pictures)

# %% [markdown]
# ## What is cut
#
# Over all concepts: the share of the weights in these layers that is cut, the largest share in any
# one of them, how much of the cut is ConceptPrune's too, rows cut as a whole (nothing is left to
# complete them from, so the attack leaves them zero), and the share of cut signs that the
# completion finds. Half would be chance. The cuts other than *ff* are explained below.

# %%
tables.save_csv(study.cuts, "09_cuts")
study.cut_table()

# %% [markdown]
# ## Erased, and revived
#
# Accuracy on the erased class, one figure per method; diamonds are the paper's.

# %%
tables.save_csv(tables.counts(study.hits), "09_saliency")
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
        for method in study.methods
    )
)

# %% [markdown]
# The averages over these concepts beside the paper's over the same ones (ConceptPrune: its Table 1;
# the others: Table 11). The change of *pruned* is from the pretrained model, of *revived* from the
# pruned one. The paper prints the accuracy on the other classes once per method; it is taken for
# that of the revived model, and its change is from the pretrained one.

# %%
rows = study.rows()
tables.save_csv(comparisons.records(rows), "09_table_11")
comparisons.comparison(rows, other and other.rows(), verdicts=True)

# %% [markdown]
# ## Ranked together, and other layers
#
# Two variations of the gradient methods, with the same attack:
#
# - **ff together x B:** all feed-forward weights are ranked together, as both released codes do,
#   and B times ConceptPrune's number of weights is cut. Gradients differ in size from layer to
#   layer, so such a cut can take most of one layer and leave others alone: the table above says
#   how far. A model that then fails at every class has not forgotten a concept, it is broken.
# - **all:** all attention projections and convolutions are cut as well, the same share of each
#   matrix, and the same *number* of weights in all as *ff*. A convolution of shape (out, in, k, k)
#   is completed as a matrix (out, in k²), so that a row is still a neuron. With hundreds of
#   matrices to complete, the attack goes straight to the limit of the released iteration.

# %%
plates.picture_grid(study.others) if study.others else None

# %%
study.summary()

# %% [markdown]
# ## What came out
#
# The paper concludes that once the places of the critical weights are known, the attack recovers
# the concept however they were chosen, and keeps the model useful. The change that the attack makes
# to each pruned model, picture by picture, over all concepts:

# %%
tables.effects_table(study.revivals(), "pruned to revived, erased class")

# %% [markdown]
# A revival counts for something only where the cut was about the concept. What each cut took from
# the other classes:

# %%
tables.effects_table(study.costs(), "pretrained to pruned, other classes")
