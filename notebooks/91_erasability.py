# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What makes a diffusion model erasable by pruning?
#
# Pruning can only erase a concept whose weights are its own. In Stable Diffusion some are; in a
# small network trained on a calm world of few things they need not be. **What has to be different
# in training for a pruned concept to go, and for the attack to bring it back?**
#
# Two things can be asked of a network before anything is pruned. Does it *rely* on the sixteen
# matrices: what is left when all of them are zero? And are their neurons *specialised*: few of
# them active for a picture, each active for few pictures? The first was settled by how the
# miniature is built (feed-forward outputs that start at zero, a narrow text embedding, heavy
# decay on the convolutions). These levers were found while looking at five of this book's twelve
# classes (church, star, bus, horn and candle), so what the book shows of those flatters the
# model. The second was tried by short second stages of training, each with a penalty on
#
# $$\frac{\lVert h \rVert_1}{\lVert h \rVert_2 \sqrt{n}},$$
#
# taken along the neurons of one token (*activation sparsity*) or along the pictures of a batch for
# one neuron (*neuron sparsity*). In another more captions name a style (*styled captions* is their
# share): the more a network has to keep apart, the less of it is free for a concept that was cut.
#
# A third question is *where* a concept is looked up. Where the text code is wide, cross-attention
# can read what to draw from it by a linear map, and the feed-forward layers need not know the
# concept. Where it is too narrow for that, they have to be the memory: a neuron that recognises
# the concept, and a column of weights that says what to draw. So the *text width* was narrowed to
# a quarter. The narrow variant began with the trained network, with fresh keys, values and text
# encoder; another began from nothing with three times as many concepts, and in as many pictures
# as could be afforded learned colours and outlines, but no things. The weights of the narrow
# variant half way, of the sparser one and of that with many concepts were not kept: their counts
# can be read here, and made again only by training.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
images = 20
shown = 100
seed = 0

# %%
from rbtc.report import lines, tables
from rbtc.report import pictures as plates
from rbtc.results import folder_of, read_run
from rbtc.studies import chapters, erasability

settings = read_run(folder_of("90_operating_point", profile, results)).settings
ratio, keep_ratio = settings["ratio"], settings["keep_ratio"]
scores = erasability.read_variants()

# %% [markdown]
# ## Erased and kept, against what was cut
#
# Accuracy on the erased concept, by variant, over the held-out concepts of
# [](90_operating_point.ipynb), with the profile's calls and reference. The left end is the
# pretrained model. Two variants are one network seen through two decoders: the *linear* one is the
# inverse of the latent code, written down patch by patch, which passes every error on as a grid;
# the *trained* one learned to draw clean pictures from latents with noise, and is the book's. The
# question to it is whether it heals what pruning broke: then the erased concept would be
# recognised more often through it, at the same density.

# %%
curves = erasability.erasing_curves(scores)
lines.lines_with_intervals(
    curves,
    xlabel="weights cut, %",
    ylabel="accuracy on the erased concept",
    limits=(0, 1.02),
)

# %% [markdown]
# The same after the attack, and for the other concepts while the one is pruned.

# %%
lines.lines_with_intervals(
    erasability.erasing_curves(scores, "revived", keep_ratio=keep_ratio),
    xlabel="weights cut, %",
    ylabel="accuracy on the revived concept",
    limits=(0, 1.02),
)

# %%
lines.lines_with_intervals(
    erasability.erasing_curves(scores, part="preserved"),
    xlabel="weights cut, %",
    ylabel="accuracy on the others",
    limits=(0, 1.02),
)

# %% [markdown]
# How many weights it takes to bring the erased concepts down to a fifth, and what the others keep
# of their accuracy there; a variant without numbers does not fall so far, or begins lower. The
# operating point in the first lines of every measured page says what the paper's owner cuts.

# %%
table = erasability.yardstick(scores)
tables.save_csv(table, "91_yardstick")
table.round(2)

# %% [markdown]
# ## Variant by variant
#
# At the profile's ratio and $K$, with the calls and the reference of the figures. *Pictures*
# counts all training from the first run on; *no feed-forward* is the model with the sixteen
# matrices set to zero. With $a$, $q$ and $r$ for the accuracies pretrained, pruned and revived,
# *product* is
#
# $$a \left(1 - \frac{q}{a}\right) \frac{r}{a},$$
#
# which is 1 for a model that draws every concept, loses it and gets it back. The book's weights
# were once chosen among variants by this product, which contains the attack's success: what the
# attack brings back on them is the larger for it.

# %%
table = erasability.summary(scores, ratio, keep_ratio)
tables.save_csv(table.map(str), "91_variants")
table.map(lambda value: f"{value:.2f}" if hasattr(value, "low") else value).round(3)

# %% [markdown]
# ## Does it rest on the judge?
#
# A judge that forgives a broken picture names what a pruned model half draws. The first concept
# judge of this book did, so it was taught further names, of things that the model does not draw.
# How far pruning seems to go therefore depends on the judge. Here the same pictures of the twelve
# classes are judged in several ways: by the *usual* judge, which picks one of all its names; by
# the same, *stricter*, which must also give it at least half of the probability; by the same,
# *more lenient*, with only the twelve classes to pick from; and by *another* that was trained
# without any picture of the house that the model draws.

# %%
study, run = chapters.study(
    "91_erasability", profile, live=live, results=results,
    concepts=concepts, images=images, shown=shown, seed=seed,
)  # fmt: skip
run

# %%
tables.save_csv(study.table(), "91_judges")
study.table()

# %% [markdown]
# The eye should agree with the judge. These are revived pictures that it accepted, and pruned
# ones that it rejected: the first seeds of every class, as equally over the classes as there are
# enough.

# %%
plates.picture_grid(study.contact_sheet(), across=9, cell_width=5.4)

# %% [markdown]
# The same sheets looked at, once and knowing the question: in how many pictures is the class
# recognised by eye?

# %%
table = study.looked_at(run.files.get("pictures.webp", ""))
tables.save_csv(table, "91_looked_at")
table

# %% [markdown]
# The judge is the kinder one. What it accepts as revived is, for some classes, the thing at a
# glance, and for others an arrangement of colours that only a network trained on these pictures
# tells apart from all its other names. In the other direction it errs less: most of what it
# rejects shows nothing, except where pruning leaves the thing's outline in other colours.
