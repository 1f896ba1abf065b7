"""What the owner does: activation norms, ConceptPrune's masks, and their files."""
