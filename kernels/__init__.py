"""Hand-written kernels for TPU, GPU and CPU, proven without the hardware. Imports no research/."""
