"""Revive concepts that pruning removed from a diffusion model, as in "Roots Beneath the Cut".

The modules are flat, one idea each. The attack is `rbtc.attack.completion` (estimate the missing
weights), `rbtc.attack.topk` (keep the confident signs) and `rbtc.attack.magnitudes` (give them a
size);
`rbtc.attack.revive` runs the three in a row.
"""

__version__ = "0.1.0"
