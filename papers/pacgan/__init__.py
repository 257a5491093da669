"""PacGAN: The power of two samples in generative adversarial networks (1712.04086)."""
