"""A variant: a set of weights, and the configuration that identifies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rbtc.lab.digests import canonical, code_digest
from rbtc.layers import Weights


@dataclass(frozen=True, eq=False)
class Variant:
    """A set of weights with a name for figures, and the configuration that identifies it exactly.

    Equal configurations mean equal weights: pictures are filed under ``config``. For weights made
    outside the lab, let `Lab.custom` write it.
    """

    label: str
    config: Mapping[str, Any]
    weights: Weights

    @property
    def key(self) -> str:
        """Canonical text of the configuration."""
        return canonical(self.config)


def derived(
    base: Variant, label: str, weights: Weights, *code: Callable[..., Any], **config: Any
) -> Variant:
    """A variant made from another by the functions ``code``, with the settings of ``config``."""
    return Variant(label, {**config, "base": base.config, "code": code_digest(*code)}, weights)
