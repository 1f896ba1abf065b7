"""The defence, how it is detected, and what detects it."""
