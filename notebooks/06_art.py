# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A style comes back
#
# An object can be cut out of a model. **Can a manner of drawing, and does the attack bring it back
# as well?** {cite:t}`zhang_roots` ask this of five painters. Here an emoji house plays the painter:
# "a cat in the style of openmoji".

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["openmoji", "fluent", "fxemoji", "notov1", "twemoji"]
images = 16
other_images = 1
neutral_images = 30
neutral_prompts = "emoji/neutral_prompts.txt"
pictures = 2
seed = 0

# %% [markdown]
# ## What is cut
#
# ConceptPrune compares "a cat in the style of openmoji" with "a cat", for every thing of the
# profile, and cuts the weights that matter for the first and not for the second. From there the
# attack is the one of the other chapters, with Neuron-Max Scaling.

# %%
from IPython.display import display

from rbtc.report import charts, comparisons, style, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "06_art", profile, live=live, results=results,
    concepts=concepts, images=images, other_images=other_images, neutral_images=neutral_images,
    neutral_prompts=neutral_prompts, pictures=pictures, seed=seed,
)  # fmt: skip
other = chapters.beside("06_art", profile, results)
colours = {"NMS": style.COLOURS["revived"]}
run

# %% [markdown]
# ## Look first
#
# One line per erased style, and every picture asks for that style by name. Same prompt and same
# noise in the same place; these are the first pictures that were counted.

# %%
plates.picture_grid(study.pictures)

# %% [markdown]
# And what the same models draw when no style is named:

# %%
plates.picture_grid(study.neutral_pictures)

# %% [markdown]
# ## Is the style there?
#
# A judge that was trained on the houses' real drawings, and never on generated ones, says whose
# hand it sees. The paper has no such judge; it makes the two measures below readable.

# %%
accuracy = study.by_style("style judge accuracy")
tables.save_csv(tables.counts(study.hits.drop(columns="similarity")), "06_art")
charts.bars_with_intervals(
    accuracy, ylabel="style judge accuracy, erased style", limits=(0, 1), colours=colours
)

# %% [markdown]
# The styles that were *not* erased, by the same judge:

# %%
tables.accuracy_table(study.preserved, "concept", "model") if len(study.preserved) else None

# %% [markdown]
# ## The paper's two measures
#
# **CLIP similarity** is the cosine between a picture and its own prompt. **CLIP score** is the
# share of pictures that fit their prompt less well than the pretrained model's picture from the
# same seed:
#
# $$
# \text{score} = \frac1n \sum_{i=1}^n
# \big[\cos(x_i, p_i) < \cos(x_i^{\text{pretrained}}, p_i)\big].
# $$
#
# It is 0 for the pretrained model by definition, and about one half for a model that draws other
# pictures which are no worse. So a revival shows as a fall towards one half, or below. The CLIP
# used here was trained on emoji, so its cosines have a scale of their own: heights are not
# comparable with the paper's, directions are.

# %%
similarity = study.by_style("CLIP similarity, in style")
score = study.by_style("CLIP score")
tables.save_csv(tables.long_form(similarity), "06_similarity")
tables.save_csv(tables.long_form(score), "06_score")
display(
    charts.bars_with_intervals(similarity, ylabel="CLIP similarity", colours=colours),
    charts.bars_with_intervals(score, ylabel="CLIP score", limits=(0, 1), colours=colours),
)

# %% [markdown]
# ## What else changes
#
# The paper takes COCO's captions and reports an FID. Here a fixed list of neutral prompts,
# `data/emoji/neutral_prompts.txt`, stands in COCO's place: things without a style. The distance is
# the **Fréchet distance of judge features**. The features $f$ are those of the concept judge before
# its last layer, and
#
# $$
# d = \lVert \mu - \mu_0 \rVert^2 +
# \operatorname{tr}\!\big(\Sigma + \Sigma_0 - 2(\Sigma\,\Sigma_0)^{1/2}\big),
# $$
#
# with $\mu_0, \Sigma_0$ from pictures that the **pretrained model** drew of the same prompts with
# other seeds. The pretrained column is therefore what chance does between two draws of one model,
# and the others are to be read against it. There are fewer pictures than features, which makes
# every one of these distances too large, and all alike, because all have the same n.

# %%
tables.save_csv(study.distances, "06_distances")
study.distance_table()

# %% [markdown]
# ## The paper's Table 2 beside ours
#
# Averages over the paper's five painters and over our houses. Each change is paired, picture by
# picture: of *pruned* from the pretrained model, of the two attacks from the pruned one. A verdict
# compares the direction of the paper's change with ours, and is *undecided* where the interval of
# ours holds zero. In the line of the Fréchet distance the paper's number is its FID, another
# measure with the same purpose: only its direction can be held against ours.

# %%
rows = study.rows()
tables.save_csv(comparisons.records(rows), "06_effects")
comparisons.comparison(rows, other and other.rows(), verdicts=True)

# %% [markdown]
# How much one style differs from the next is hidden by an average:

# %%
spread = study.spread()
tables.save_csv(spread, "06_spread")
spread

# %% [markdown]
# ## What came out
#
# The paper says that the attack revives the erased styles, better than Quant Recover does, and
# keeps the quality of everything else. The first two, where the measure counts pictures: a CLIP
# score falls where a style comes back, the accuracy of the style judge rises. Claims C26 and C27 of
# [the ledger](10_claims.ipynb) judge them.

# %%
tables.effects_table(study.contrasts(), "from one model to another")

# %% [markdown]
# The last: how the neutral pictures move from the pruned to the revived model. The distance should
# fall, the similarity should not.

# %%
{
    measure: f"{study.change(measure, 'pruned', 'NMS')}"
    for measure in ("Fréchet distance of judge features", "CLIP similarity, neutral")
}
