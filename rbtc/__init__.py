"""Revive concepts that pruning removed from a diffusion model, as in "Roots Beneath the Cut".

The modules are flat, one idea each. The attack is `rbtc.completion` (estimate the missing
weights), `rbtc.topk` (keep the confident signs) and `rbtc.magnitudes` (give them a size);
`rbtc.revive` runs the three in a row.
"""

__version__ = "0.1.0"
