"""Judged pictures, made up."""

import pandas as pd


def pictures(shares, n=40, **columns):
    """A line per picture of `{model: {class: share of hits}}`, or `{model: share}` of churches."""
    lines = [
        {"concept": name, "model": model, "classes": "erased", "asked": name,
         "prompt": f"a {name}", "seed": seed, "hit": seed < share * n, **columns}
        for model, of in shares.items()
        for name, share in (of if isinstance(of, dict) else {"church": of}).items()
        for seed in range(n)
    ]  # fmt: skip
    return pd.DataFrame(lines)
