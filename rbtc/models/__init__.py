"""Profiles, prompts, pipelines, pictures and judges."""
