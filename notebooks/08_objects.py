# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Twelve objects
#
# One class that comes back proves that the attack can work. **Does it work for every class, does
# it bring back more than simpler refills do, and what happens to everything that nobody erased?**
#
# This is the main experiment of {cite:t}`zhang_roots` (Sec. 5.2, Table 1, Figs 5 and 12): twelve
# classes are erased one after the other, and each of the twelve pruned models is revived in four
# ways. An accuracy on the *erased* class says whether the concept is back; one on the *preserved*
# classes, all the others, says whether the model is still good for something else.

# %% tags=["parameters"]
profile = "mini"
live = False
results = ""
concepts = [
    "church", "golf ball", "gas pump", "parachute", "chain saw", "French horn",
    "mountain bike", "starfish", "spider web", "school bus", "racket", "candle",
]  # fmt: skip
images = 10
other_images = 1
other_classes = 4
draw_seeds = [2021]
pictures = 1
seed = 0

# %% [markdown]
# ## Six models
#
# Write $M$ for the places that pruning cuts from a matrix, $S_i$ for the survivors of its row $i$,
# and $\hat s_{ij} \in \{-1, 0, 1\}$ for what completion and Top-K leave of the sign at a cut place.
#
# | model | weight at a place in $M$ | all other weights |
# |---|---|---|
# | pretrained | $w_{ij}$ | as trained |
# | pruned (ConceptPrune) | $0$ | as trained |
# | Quant Recover | $0$ | $q_i \, \operatorname{round}(w_{ij}/q_i)$ |
# | Neuron Sample | $\hat s_{ij}\,\lvert g_{ij}\rvert$ | as trained |
# | Neuron Average | $\hat s_{ij} \operatorname{mean}_{k\in S_i} \lvert w_{ik}\rvert$ | as trained |
# | NMS (Neuron-Max Scaling) | $\hat s_{ij} \max_{k\in S_i} \lvert w_{ik}\rvert$ | as trained |
#
# Here $g_{ij} \sim \mathcal N(\mu_i, \sigma_i^2)$ with mean and deviation of the row's survivors,
# and $q_i = \max_{k \in S_i} \lvert w_{ik} \rvert / 7$ is the step of four bits.
#
# Quant Recover is the odd one out. It takes up an observation about language models, where rounding
# the weights undid a *trained* unlearning. Rounded to four bits a zero is still exactly a zero, so
# here it cannot put anything back: it shows what mere disturbance of the survivors does. The other
# three use the same signs, so between them only the magnitude differs.

# %%
import pandas as pd

from rbtc.report import comparisons, lines, spread, tables
from rbtc.report import pictures as plates
from rbtc.results import folder_of
from rbtc.studies import chapters

study, run = chapters.study(
    "08_objects", profile, live=live, results=results,
    concepts=concepts, images=images, other_images=other_images, other_classes=other_classes,
    draw_seeds=draw_seeds, pictures=pictures, seed=seed,
)  # fmt: skip
other = chapters.beside("08_objects", profile, results)
run

# %% [markdown]
# ## Look first
#
# The paper's Fig. 5 for this model: a line per class, a column per model. Within a line all
# pictures answer the same prompt from the same noise. They are the first seeds that were counted,
# not the best ones.

# %%
plates.picture_grid(study.pictures, cell_width=1.2)

# %% [markdown]
# ## Then count
#
# Accuracy on the erased class, and on other classes of the same model. A thin line is one erased
# class, the thick one the mean over all with its 95 % interval, the dashed one the mean of the
# paper's values for the same classes. It belongs to another model: compare where the lines rise and
# fall, not how high they run.

# %%
tables.save_csv(tables.counts(study.hits), "08_objects")
lines.class_lines(
    {"erased class": study.part("erased"), "preserved classes": study.part("preserved")},
    paper={
        "erased class": study.paper_means("erased"),
        "preserved classes": study.paper_means("preserved"),
    },
)

# %% [markdown]
# Pictures behind each point, and how many classes they ask for; those that differ only in the draw
# of Neuron Sample's magnitudes are averaged.

# %%
erased, preserved = study.part("erased"), study.part("preserved")
pd.concat(
    {
        title: half.groupby("model", sort=False)["asked"].agg(classes="nunique", pictures="size")
        for title, half in (("erased class", erased), ("preserved classes", preserved))
    },
    axis=1,
)

# %% [markdown]
# Over all classes, with the paper's means beside ours. All models drew from the same prompts and
# seeds, so each *change* is measured picture by picture: pruning's from the pretrained model, every
# other one from the pruned model. The verdict compares its direction with the paper's. *Undecided*
# means that the interval of our change holds zero, *no effect printed* that the paper's own change
# lies within the sampling error of its pictures. A preserved class's picture recurs for several
# erased classes; each class and seed counts once in the width of an interval.

# %%
rows = study.rows()
tables.save_csv(comparisons.records(rows), "08_totals")
comparisons.comparison(rows, other and other.rows(), verdicts=True, counts=False)

# %% [markdown]
# ## How far the classes lie apart
#
# A mean over twelve classes hides the ones that do not come back. The spread is the standard
# deviation over the classes, of the paper's printed values and of ours; ours holds the sampling
# error of fewer pictures besides. First the erased class, then the preserved ones.

# %%
spread.spread_table(erased, "model", paper=study.paper("erased"), intervals=False)

# %%
spread.spread_table(preserved, "model", paper=study.paper("preserved"), intervals=False)

# %% [markdown]
# Pruning leaves some classes standing, and there the attack has nothing to bring back. The same
# for the classes that it really erased: those it left at most as recognisable as the paper's most
# stubborn class, chosen on the pruned model alone.

# %%
really = study.really_erased()
own = erased[erased["concept"].isin(really)].assign(classes=f"{len(really)} classes")
tables.accuracy_table(own, "model", "classes")

# %% [markdown]
# ## Does it rest on the judge?
#
# The erased classes once more, on pictures that several judges saw: the *usual* one; the same,
# *stricter*, which must give its answer at least half of the probability; the same, *more
# lenient*, with only these classes to choose from; and *another* that never saw the house which
# the model draws. [](91_erasability.ipynb) shows the pictures behind it.

# %%
judges = folder_of("91_erasability", profile, results)
chapters.read(judges).table() if judges.is_dir() else "Not measured for this profile yet."

# %% [markdown]
# ## Is the maximum the best magnitude?
#
# The paper calls Neuron-Max Scaling consistently best, while its own Table 1 holds a class for
# which Quant Recover is ahead. The changes on the erased class that lead to NMS: the first
# interval is over pictures and speaks of these classes, the second takes each class for one
# observation and speaks of classes like these; then in how many classes the change is one by its
# own interval.

# %%
rivals = {
    f"from {before}": (before, "NMS")
    for before in ("pruned", "Quant Recover", "Neuron Sample", "Neuron Average")
}
tables.save_csv(spread.changes_table(erased, rivals), "08_rivals")
spread.changes_table(erased, rivals, "to NMS")

# %% [markdown]
# The same on the preserved classes: a refill that only made the model louder would lose them.

# %%
spread.changes_table(preserved, rivals, "to NMS")

# %% [markdown]
# ## Table 1, class by class
#
# The erased class, the paper's number beside ours with its 95 % interval.

# %%
erased_rows = study.class_rows("erased")
tables.save_csv(comparisons.records(erased_rows), "08_table_1_erased")
comparisons.comparison(erased_rows, other and other.class_rows("erased"), counts=False)

# %% [markdown]
# The preserved classes, one line per class that was erased.

# %%
preserved_rows = study.class_rows("preserved")
tables.save_csv(comparisons.records(preserved_rows), "08_table_1_preserved")
comparisons.comparison(preserved_rows, other and other.class_rows("preserved"), counts=False)

# %% [markdown]
# In how many classes the change that made each model got which verdict, on the erased class; the
# verdicts one by one are in the CSV of the table. A class on its own has fewer pictures than all
# together, and its intervals are wider.

# %%
spread.verdict_counts(erased_rows)
