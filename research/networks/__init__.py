"""Networks only: Flax Linen modules that know no loss, no data set and no sampler."""
