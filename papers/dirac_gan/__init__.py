"""Which Training Methods for GANs do actually Converge? (1801.04406)."""
