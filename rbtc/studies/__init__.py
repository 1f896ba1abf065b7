"""The studies behind the chapters: one module, one notebook, one part of the paper.

A study is a frozen result: a tidy frame with a line per picture (concept, model, setting, prompt,
seed, hit) or per layer, and pictures to look at. Tables and intervals are derived from the frame,
the sentences are the notebook's. `rbtc.studies.measuring` holds the functions from a lab and
settings to a study; a page that reads imports nothing of it.
"""
