"""The studies behind the chapters: one module, one notebook, one part of the paper.

A study is a function from a lab and settings to one frozen result: a tidy frame with a line per
picture (concept, model, setting, prompt, seed, hit) or per layer, and pictures to look at. Tables,
intervals and figures are derived from the frame; the sentences are the notebook's.
"""
