"""A variant: a set of weights, and the configuration that identifies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rbtc.lab.digests import canonical, code_digest
from rbtc.layers import Weights


class Variant:
    """A set of weights with a name for figures, and the configuration that identifies it exactly.

    Equal configurations mean equal weights: pictures are filed under ``config``. For weights made
    outside the lab, let `Owner.custom` write it.

    Attributes:
        label: Name for figures.
        config: What identifies the weights.
        made: The weights, or what makes them when they are first asked for.
    """

    def __init__(
        self, label: str, config: Mapping[str, Any], weights: Weights | Callable[[], Weights]
    ) -> None:
        self.label, self.config, self.made = label, config, weights

    @property
    def weights(self) -> Weights:
        """The weights, made now if they have not been."""
        if callable(self.made):
            self.made = self.made()
        return self.made

    @property
    def key(self) -> str:
        """Canonical text of the configuration."""
        return canonical(self.config)


def derived(
    base: Variant,
    label: str,
    weights: Weights | Callable[[], Weights],
    *code: Callable[..., Any],
    **config: Any,
) -> Variant:
    """A variant made from another by the functions ``code``, with the settings of ``config``."""
    return Variant(label, {**config, "base": base.config, "code": code_digest(*code)}, weights)
