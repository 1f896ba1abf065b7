"""Emoji-sd: how the embedded miniature of Stable Diffusion is made, from real emoji sets."""
