"""Revive concepts that pruning removed from a diffusion model, as in "Roots Beneath the Cut".

The attack is `rbtc.attack`: `completion` (estimate the missing weights), `topk` (keep the confident
signs) and `magnitudes` (give them a size); `revive` runs the three in a row. What imports what, on
seven floors, is in ``book/architecture.md``.
"""

__version__ = "0.1.0"
