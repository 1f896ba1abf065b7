"""The attack: complete the matrices, keep the confident signs, give them a magnitude."""
