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
# words. Each claim is held against numbers that another chapter measured and saved; this page only
# reads them. Nobody writes an outcome: a rule looks at the interval.
#
# | outcome | the 95 % interval |
# |---|---|
# | *holds* | lies on the claim's side as a whole |
# | *does not hold* | lies on the other side as a whole |
# | *undecided* | lies on both sides: too few pictures to tell |
# | *holds in part* | some parts hold, others do not or cannot be told; or one class differs |
# | *not testable here* | there is nothing to measure on this model, and the reason is given |
# | *not measured yet* | the numbers are missing; the command that makes them is given |
#
# One class differs where all of them together hold and its own interval says the opposite.
#
# The miniature is another model than the paper's. A claim that holds here holds on this model, and
# one that does not may still hold on the paper's.

# %% [markdown]
# ## The rules
#
# - *rises*, *falls*: the interval of a change lies above or below zero. Where a chapter saved
#   paired changes, picture by picture, those are used. Where it saved only how many pictures of how
#   many were right, the interval is Newcombe's for independent pictures, which is wider.
# - *above*, *below*: the interval lies beyond a bound.
# - *within*: two things are the same, which no small change proves by itself; the whole interval
#   has to lie within a margin.
# - *peak*: one of the inner values is larger than both ends.
#
# Values without an interval are properties of the weights, which no choice of pictures changes.

# %%
from IPython.display import Markdown

from rbtc.report import markdown, tables
from rbtc.report.claim_list import load_claims
from rbtc.report.forest import forest
from rbtc.report.ledger import judge
from rbtc.report.ledger_tables import (
    abstract_table,
    bounds_table,
    by_part,
    ledger_table,
    records,
    tally_table,
)

verdicts = [judge(claim) for claim in load_claims()]
parts = by_part(verdicts)


# %% [markdown]
# ## Look first
#
# The claims about changes that were measured, one line for each part of a claim and one mark for
# each value that was judged: a class, a K or a noise level.

# %%
tables.save_csv(records(verdicts), "10_claims")
forest(verdicts)

# %% [markdown]
# How many claims came out how, by the place where they are made:

# %%
tally_table(verdicts)

# %% [markdown]
# ## Abstract and introduction
#
# A claim with several parts has several lines. Behind each stands its rule; the last column leads
# to the chapter and to the file of numbers.

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
# the ledger and in its file of numbers, `results/10_claims.csv`.

# %%
Markdown(markdown.table(bounds_table(verdicts)))

# %% [markdown]
# ## The abstract, sentence by sentence

# %%
markdown.save(
    markdown.table(abstract_table(verdicts, pages="notebooks/", numbers="../results/")),
    "book/_generated/abstract.md",
)
Markdown(markdown.table(abstract_table(verdicts, pages="", numbers="../../results/")))

# %% [markdown]
# Where the paper contradicts itself there is no claim to test, but a reading to choose:
# [](11_contradictions.ipynb).
