"""The linear VAE and probabilistic PCA: Don't Blame the ELBO! (1911.02469)."""
