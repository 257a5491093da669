"""The one loop and what it needs: state, seam, optimizers, checkpoints, sharding, logs."""
