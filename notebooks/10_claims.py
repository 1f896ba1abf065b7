# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Every claim, and what became of it
#
# **Which of the paper's claims hold here, which do not, and how do we know?**
#
# The ledger below lists what {cite:t}`zhang_roots` claim, from the abstract to the appendix, in our
# words. A claim that can be tested on this model is held against what other chapters measured; this
# page only reads it. Nobody writes an outcome: a rule looks at the interval.
#
# | outcome | the 95 % interval |
# |---|---|
# | *holds* | lies on the claim's side as a whole |
# | *does not hold* | lies on the other side as a whole |
# | *holds in part* | some parts hold and others do not; or one class says the opposite |
# | *no effect* | does not show the effect, and leaves out the paper's |
# | *ceiling* | cannot show it: next to nothing is left to rise, or to fall |
# | *undecided* | lies on both sides; the smallest effect that could have been seen is given |
# | *not testable here* | there is nothing to measure on this model, and the reason is given |
# | *not measured yet* | the pictures are missing; the command that makes them is given |
#
# The miniature is another model than the paper's. A claim that holds here holds on this model, and
# one that does not may still hold on the paper's.

# %% [markdown]
# ## The rules
#
# - *rises*, *falls*: the interval of a change lies above or below zero. All changes are paired:
#   both models drew a picture of the same prompt from the same seed, or, where no picture enters,
#   both shares are of the same layer.
# - *above*, *below*: the interval lies beyond a bound.
# - *within*: two things are the same, which no small change proves by itself; the whole interval
#   has to lie within a margin.
#
# The interval in brackets is over pictures and holds for these classes; the one *over classes*
# takes each class as one observation and holds for classes like these. A claim that holds over all
# classes holds *in part* where a class by itself clearly says the opposite. Values without an
# interval are properties of the weights, which no choice of pictures changes. The paper's averages
# are those that it prints; an effect of the paper's is the mean over the same classes.

# %% tags=["parameters"]
profile = "mini"
results = ""

# %%
from IPython.display import Markdown

from rbtc.report import markdown, tables
from rbtc.report.claim_tables import (
    abstract_table,
    bounds_table,
    by_part,
    judged_values,
    ledger_table,
    records,
    tally_table,
)
from rbtc.report.forest import forest
from rbtc.studies.chapters import Measured
from rbtc.studies.paper_claims import verdicts

judged = verdicts(Measured(profile, results))
parts = by_part(judged)

# %% [markdown]
# ## Look first
#
# The claims about changes that were measured, one line for each part of a claim and one mark for
# each value that was judged: a class, a K or a noise level.

# %%
tables.save_csv(records(judged), "10_claims")
forest(judged)

# %% [markdown]
# How many claims came out how, by the place where they are made:

# %%
tally_table(judged)

# %%
Markdown(
    f"{judged_values(judged)} values with a 95 % interval were judged. If none of the effects were "
    f"there, about {judged_values(judged) / 40:.0f} of them would seem to lie on the claim's side "
    "by chance: a single value that does says little, a row of them much."
)

# %% [markdown]
# ## Abstract and introduction
#
# A claim with several parts has several lines. Behind each stands its rule; the last column leads
# to the chapter.

# %%
Markdown(markdown.table(ledger_table(parts["Abstract and introduction"])))

# %% [markdown]
# ## Signs and magnitudes

# %%
Markdown(markdown.table(ledger_table(parts["Signs and magnitudes"])))

# %% [markdown]
# ## The attack

# %%
Markdown(markdown.table(ledger_table(parts["The attack"])))

# %% [markdown]
# ## Experiments

# %%
Markdown(markdown.table(ledger_table(parts["Experiments"])))

# %% [markdown]
# ## The defence

# %%
Markdown(markdown.table(ledger_table(parts["The defence"])))

# %% [markdown]
# ## Appendix

# %%
Markdown(markdown.table(ledger_table(parts["Appendix"])))

# %% [markdown]
# ## The bounds
#
# The paper says "preserves", "close to", "effectively" and gives no margins. These are the ones
# used here, and whose they are. Another margin would give other outcomes; the intervals stand in
# the ledger.

# %%
Markdown(markdown.table(bounds_table(judged)))

# %% [markdown]
# ## The abstract, sentence by sentence

# %%
markdown.save(
    markdown.table(abstract_table(judged, pages="notebooks/")), "book/_generated/abstract.md"
)
Markdown(markdown.table(abstract_table(judged, pages="")))

# %% [markdown]
# Where the paper contradicts itself there is no claim to test, but a reading to choose:
# [](11_contradictions.ipynb).
