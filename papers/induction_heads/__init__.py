"""In-context Learning and Induction Heads (2209.11895)."""
