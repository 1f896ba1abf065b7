# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The zeros that remember
#
# The whole attack of {cite:t}`zhang_roots` rests on an estimate: the pruned weights are gone, so
# their signs have to be guessed from the weights that are left. **Are the signs really gone?**
#
# Floating-point arithmetic has two zeros. A product takes the sign of its factors, so cutting a
# weight the way the reference recipe of ConceptPrune does it,
#
# $$w \cdot (1 - m), \qquad m \in \{0, 1\},$$
#
# leaves $+0$ where the weight was positive and $-0$ where it was negative. The two compare equal
# and compute alike; nobody who looks at accuracies, at pictures or at `w == 0` can tell. But they
# are different bits, and a file keeps bits. This is not in the paper: its attack takes both for
# zero.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
images = 6
pictures = 1
seed = 0

# %% [markdown]
# ## From the cut to the revival
#
# Each class is cut with the same mask in two ways, by multiplication and by writing $+0$. The
# weights are saved in three number formats and two containers, and read back. Reading needs no
# completion, no threshold and no model: a zero's sign bit *is* the answer.
#
# $$
# \hat s_{ij} = \begin{cases} -1 & \text{if the zero at } (i,j) \text{ has its sign bit set,}\\
# +1 & \text{if not.} \end{cases}
# $$
#
# Then Neuron-Max Scaling gives every sign the largest magnitude of its row, as the paper's attack
# does; and beside it the average of the row, which is what exact signs call for: where every cut
# place is filled, the maximum is far too loud. In [chapter 01](01_sign_vs_magnitude.ipynb) the same
# refill was a thought experiment, true signs given away; here it is an attack on a file.

# %%
import pandas as pd
from IPython.display import display

from rbtc.report import lines, sign_maps, spread, tables
from rbtc.report import pictures as plates
from rbtc.studies import chapters

study, run = chapters.study(
    "12_signed_zeros", profile, live=live, results=results,
    concepts=concepts, images=images, pictures=pictures, seed=seed,
)  # fmt: skip
run

# %% [markdown]
# ## Look first
#
# The model as trained, the class cut out, the paper's attack, and the attack that reads the signs,
# with either magnitude.
# A line per class, the same noise in a line; these are the first seeds that were counted.

# %%
plates.picture_grid(study.pictures, cell_width=1.2)

# %% [markdown]
# ## What the file says
#
# A piece of one matrix of the first class, a square per weight. Upper left, the signs that were cut
# out. Completion has to guess them; the file has them written down; and after the fix it says plus
# everywhere, whatever was there.

# %%
tables.save_csv(sign_maps.long_form(study.patch), "12_patch")
sign_maps.sign_maps(study.patch, title=f"layer {study.layer}")

# %% [markdown]
# The same in half precision, as a file holds it: the first cut places of that matrix. The leading
# bit of a number is its sign, so $-0$ is `8000`.

# %%
study.stored

# %% [markdown]
# Over all classes: how many places an attacker would take for cut that were not, or would miss;
# how many $-0$ there are; and the share of signs read right, beside what somebody gets who reads
# nothing and always says plus. *Cleaned on load* is a file that was cut by multiplication and read
# as `rbtc.layers.read_weights` does.

# %%
tables.save_csv(study.files, "12_files")
study.file_table()

# %% [markdown]
# ## What it is worth
#
# Accuracy on the erased class. A thin line is one class, the thick one the mean over all with its
# 95 % interval.

# %%
tables.save_csv(tables.counts(study.hits), "12_signed_zeros")
lines.class_lines(
    {"erased class": study.hits},
    ylabel="accuracy on the erased class",
)

# %% [markdown]
# Pictures behind each model, and by how much of 255 the two ways of cutting differ at most in a
# pixel of the pictures that were looked at.

# %%
behind = study.hits.groupby("model", sort=False)["concept"]
display(behind.agg(classes="nunique", pictures="size"), pd.Series({"of 255": study.pixel}))

# %% [markdown]
# All models drew from the same prompts and seeds, so each change is measured picture by picture.
# The third line is what exact signs add to the paper's attack; the last is what is still missing
# when all signs are right and only the magnitudes are made up.

# %%
tables.save_csv(spread.changes_table(study.hits, study.pairs), "12_changes")
spread.changes_table(study.hits, study.pairs, "from and to")

# %% [markdown]
# ## Who keeps the bit?
#
# Tried on that matrix, in three number formats. First, ways to cut: *keeps* means that the zeros
# tell every sign, *loses* that they tell none.

# %%
tables.save_csv(study.cutting.rename_axis("cut"), "12_cutting")
study.cutting

# %% [markdown]
# Second, what may happen to a file that was cut by multiplication, on its way from the one who
# pruned to the one who downloads.

# %%
tables.save_csv(study.handling.rename_axis("operation"), "12_handling")
study.handling

# %% [markdown]
# An eight-bit format also rounds small survivors to zero: there the signs may be kept, while some
# of the zeros were never cut.

# %% [markdown]
# ## The answer
#
# The fix costs nothing: write the zero instead of multiplying by it, or add $0.0$ to a file that
# exists, since $-0 + 0 = +0$. `rbtc.layers.prune` does the first. `rbtc.layers.read_weights` cleans
# whatever is loaded, so that no other number in this book can have profited from the bit.

# %% [markdown]
# Of a file that was cut by multiplication, and of the same after the fix: the share of signs that
# are read, what always saying plus gets, and what the paper's attack guesses right. Last, what
# reviving with the exact signs instead of the attack's changes in the accuracy.

# %%
leak, fixed = study.read(fixed=False), study.read(fixed=True)
gained = study.change("paper's attack", "exact signs")
pd.Series(
    {
        "signs read, cut by multiplication": tables.percent(leak.value),
        "of cut weights": f"{leak.n:,}",
        "signs read, after the fix": tables.percent(fixed.value),
        "always plus": tables.percent(study.read(fixed=True, column="plus").value),
        "guessed by the paper's attack": tables.percent(study.guessed.value),
        "change of the accuracy with exact signs": f"{gained}",
    }
).to_frame("found")
