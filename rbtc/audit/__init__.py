"""What a published file gives away."""
