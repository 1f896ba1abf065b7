# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Explore
#
# A concept is cut out of a model, grown back, hidden. **What does that look like, and at which
# setting does it tip?** Four sliders, for every class that was measured. Each moves by mouse, by
# finger on the picture, and by the arrow keys.
#
# All pictures answer the same prompt with the same noise: one seed, the first, not the best. One
# seed proves nothing. The shares beside a picture were counted by the chapters on many seeds, and
# stand there only where a chapter has measured that setting.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
keep_ratios = [1.0, 0.8, 0.6, 0.4, 0.2]
ratios = [0.02, 0.05, 0.08, 0.1, 0.15]
sigmas = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
share = 0.02
threshold_sigmas = 5.0
seed = 0
draw_seed = 2021
noise_seed = 0

# %%
import pandas as pd
from IPython.display import HTML

from rbtc.report import pictures as plates
from rbtc.report import sprites, tables
from rbtc.studies import chapters, operating_point

study, run = chapters.study(
    "92_explorers", profile, live=live, results=results,
    concepts=concepts, keep_ratios=keep_ratios, ratios=ratios, sigmas=sigmas,
    share=share, threshold_sigmas=threshold_sigmas, seed=seed, draw_seed=draw_seed,
    noise_seed=noise_seed,
)  # fmt: skip
held_out, _ = operating_point.read_sweeps(results)
at = [held_out[name] == run.settings[name] for name in ("calls", "reference")]
explorers = study.told(chapters.Measured(profile, results), held_out[at[0] & at[1]])
run

# %% [markdown]
# ## Pretrained, pruned, revived
#
# Drag across the picture. At the left end it is as the pretrained model draws it; on the way to the
# right the pruned model's picture slides over it, and then the revived one's.

# %%
HTML(explorers["compare"].markup())

# %% [markdown]
# ## How many signs, how loud
#
# The attacker keeps the share $K$ of largest estimates and gives each a magnitude
# ([](04_nms_ablations.ipynb)). A smaller $K$ keeps fewer signs. Is a larger share of them right,
# and where does the picture come back?

# %%
HTML(explorers["keep"].markup())

# %% [markdown]
# ## How much to prune
#
# The owner's choice ([](90_operating_point.ipynb)): the pruned model's picture of the erased class,
# and of the class that stands next in the list. Is what is cut for one class missed by another?

# %%
HTML(explorers["ratio"].markup())

# %% [markdown]
# ## Hiding the cut
#
# The cut weights hold noise instead of zeros ([](05_defense.ipynb)). The histogram shows where the
# magnitudes of all weights lie: those that were cut, in colour, and the rest. Where does the noise
# stand apart, where is it lost among the others, and from where on does it disturb the picture?

# %%
HTML(explorers["noise"].markup())

# %% [markdown]
# The budget attacker names the smallest weights, a fixed share of all; the threshold attacker every
# weight below a multiple of the noise, which it has to know.

# %% [markdown]
# ## The opening picture
#
# What the first page of this book shows, from the same seed: of the classes that pruning really
# erased ([](08_objects.ipynb)) the two in the middle by what the attack brings back.

# %%
sprites.save([*explorers.values()], "book/_static/explorer")
frames = [one.frame() for one in explorers.values()]
tables.save_csv(pd.concat(frames, ignore_index=True), "92_explorers")
erased = chapters.study("08_objects", profile, results=results)[0].really_erased()
middle = erased[max(0, (len(erased) - 2) // 2) :][:2]
figure = plates.picture_grid(study.some(middle), cell_width=2.0)
plates.save_picture(figure, "book/_static/opening.png")
figure
