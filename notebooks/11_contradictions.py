# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where the paper contradicts itself
#
# A reproduction of {cite:t}`zhang_roots` has to decide what was meant. **Where do the text, the
# tables and the released code disagree, how is it read here, and can anything decide?**
#
# Each line below names the place, what does not fit, and our reading with how sure we are of it.
# Three things can bear on a reading: arithmetic on the printed numbers, a measurement of another
# chapter, and a look at the weights of a model. None of them can say what the authors did; they say
# whether the reading fits.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = ["golf ball"]

# %%
from IPython.display import Markdown

from rbtc.report import markdown, tables
from rbtc.report.misprints import misfit_figure, misfits
from rbtc.studies import chapters
from rbtc.studies.contradictions import contradictions, frame_of, kinds, reading_table

weights, run = chapters.study(
    "11_contradictions", profile, live=live, results=results, concepts=concepts
)
found = contradictions(weights, chapters.Measured(profile, results))
groups = kinds(found)
run

# %% [markdown]
# ## Look first
#
# The paper's own numbers beside what its other numbers say they should be. A mark off zero is a
# place where the paper disagrees with itself: an average that is not the mean of its column, or the
# same run with two results.

# %%
tables.save_csv(frame_of(found), "11_contradictions")
tables.save_csv(misfits(), "11_misfits")
misfit_figure()

# %% [markdown]
# ## Settled by the paper's own numbers
#
# Arithmetic on the printed tables, read from `data/paper`.

# %%
Markdown(markdown.table(reading_table(groups["printed"])))

# %% [markdown]
# ## Where a measurement bears on it
#
# Numbers of other chapters, and of the weights of the first concept's pruned model. *Supports*
# and *against* are about our reading; where neither stands, the numbers only show how much hangs on
# it. Claims are those of [the ledger](10_claims.ipynb).

# %%
Markdown(markdown.table(reading_table(groups["measured"])))

# %% [markdown]
# ## Left to reading
#
# Nothing here can be measured on this model; what decides is the released code, or nothing.

# %%
Markdown(markdown.table(reading_table(groups["reading"])))
