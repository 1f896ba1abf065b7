# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Several concepts, and an unknown one
#
# A publisher rarely has one thing to remove. **When several concepts are cut out of one model, does
# one attack bring all of them back? And an attacker who was never told what was cut: can the
# revived model say?**
#
# The paper erases one concept at a time, and its attacker knows which. Neither is part of the
# attack: completion looks at zeros, whoever they belonged to.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
counts_together = [1, 2, 3, 5]
sets = 2
images = 3
other_images = 1
guesses = 6
word_images = 1
other_words = 0
coins = False
order_seed = 0
seed = 0

# %% [markdown]
# ## The union of the cuts
#
# Let $M_c$ be the places that ConceptPrune cuts for concept $c$. A model that has lost the concepts
# $c_1, \dots, c_k$ has zeros at
#
# $$
# M = M_{c_1} \cup \dots \cup M_{c_k},
# $$
#
# and the attacker completes the matrices from what is left, as if $M$ were one concept's mask.
# Two things can go wrong as $k$ grows: fewer survivors have to tell the signs of more zeros, and
# every zero that is filled with a wrong sign may harm all concepts alike. If the masks were
# unrelated, the shares $d_c = \lvert M_c \rvert / \lvert W \rvert$ would unite to
# $1 - \prod_c (1 - d_c)$; less than that means that concepts share weights.
#
# Which concepts are erased together was left to chance: the classes stand on a circle in an order
# drawn once by a fixed seed, before anything was measured. A set starts at one of them; erasing $k$
# takes its first $k$. So the sets are nested, and the first concept of each is erased alone, then
# in ever larger company, with the same prompts and the same noise.

# %%
from rbtc.report import guesses as maps
from rbtc.report import lines, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

chapter, run = chapters.study(
    "16_several_concepts", profile, live=live, results=results,
    concepts=concepts, counts_together=counts_together, sets=sets, images=images,
    other_images=other_images, guesses=guesses, word_images=word_images, other_words=other_words,
    coins=coins, order_seed=order_seed, seed=seed,
)  # fmt: skip
study, unknown = chapter.several, chapter.unknown
run

# %% [markdown]
# ## Look first
#
# The first set. The first line is the pretrained model. In every other cell the pruned model's
# picture is on the left, the revived one's on the right; a frame says that the concept was erased.
# All of a column answer the same prompt from the same noise, that of the first seed.

# %%
plates.picture_grid(study.pictures, cell_width=1.3, framed=study.lost)

# %% [markdown]
# ## Then count
#
# Accuracy on the erased concepts and on the classes that nobody erased, over the number of concepts
# erased together.

# %%
tables.save_csv(tables.counts(study.hits.drop(columns="position")), "16_several_concepts")
lines.small_multiples(
    {
        "erased concepts": study.accuracy("erased"),
        "preserved classes": study.accuracy("preserved"),
    },
    xlabel="concepts erased together",
)

# %% [markdown]
# What the union does to the matrices: the share of weights it cuts, the share that unrelated masks
# would cut, and the share of the cut weights whose sign the completion finds. Means over the
# matrices of all sets, with intervals over matrices.

# %%
tables.save_csv(study.matrices, "16_matrices")
lines.small_multiples(
    {"cut weights": study.weights()}, xlabel="concepts erased together", ylabel="share"
)

# %% [markdown]
# One concept at a time: how many of the erased ones the attack brings back, judged by the interval
# of each concept's own change from the pruned to the revived model. With few pictures of each,
# *undecided* is the common answer; the last column is the smallest change that could have been
# told.

# %%
study.returned()

# %% [markdown]
# What company changes, from the fewest to the most concepts, all else equal: the first concept of
# each set, and the classes that are never erased in it, picture by picture.

# %%
changes = tables.effects_table(study.changes(), f"{study.counts[0]} to {study.counts[-1]} concepts")
tables.save_csv(changes, "16_changes")
changes

# %% [markdown]
# ## An unknown concept
#
# Now the attacker is not told what was erased. Two models are at hand, the pruned one $P$ and the
# revived one $R$ made from it. Both draw each word $v$ of a vocabulary with the same seeds $s$, and
# the attacker ranks the words by how far the pictures move,
#
# $$
# \Delta(v) = \frac1S \sum_{s=1}^{S} \Big(1 - \cos\big(f(P_{v,s}), f(R_{v,s})\big)\Big),
# $$
#
# with $f$ the picture features of a CLIP: the profile's own, on the miniature one that was
# trained on emoji as the model was. This measure was decided on before anything was drawn. Beside
# it stand others from the same pictures: the features of the judge; how much better the revived
# picture fits its word, which allows for words that fit badly in any model; and, without any
# attack, how badly the pruned model's own picture fits. Dividing by how much a word's pictures
# move *in other models* would help, but nobody has those models who has only this one, so it
# would not be honest. What is honest is to fill the same places with coin signs and to subtract
# what that changes; it costs half as many pictures again, and runs where `coins` asks for it.
#
# The attacker's vocabulary holds the erased word, which is an assumption, and each of the other
# classes, and where `other_words` asks for them further words of the model, drawn by the same seed.
#
# A line per model that has lost one concept, a column per word. The darker, the more the word's
# pictures changed, from the least to the most within a line; the dot is the attacker's first guess,
# the frame the truth.

# %%
tables.save_csv(unknown.scores, "16_unknown")
values, truth = unknown.map()
maps.guess_map(values, truth, ylabel="erased", scale="change of the pictures")

# %% [markdown]
# How often the erased concept is the first guess, or among the first three, over the models; with
# 95 % intervals, and the rate of a blind guess.

# %%
table = unknown.hit_table()
tables.save_csv(table, "16_hits")
table

# %% [markdown]
# The same with several concepts erased together: of $k$ of them, the share that stands among the
# $k$ most suspect words.

# %%
unknown.recall_table()

# %% [markdown]
# Does the attack tell more than the pruned model's own pictures do? The change in the share found
# among the most suspect words, from the measure that needs no attack to the one that does.

# %%
tables.effects_table(unknown.against_the_pruned())
