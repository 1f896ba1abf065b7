"""Solvers of matrix completion: one algorithm a module, each with its own keywords."""
