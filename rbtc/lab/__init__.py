"""The laboratory: every model of the paper, made and measured."""

from rbtc.lab.lab import Lab
from rbtc.lab.variant import Variant

__all__ = ["Lab", "Variant"]
