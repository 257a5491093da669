"""RePaint: Inpainting using Denoising Diffusion Probabilistic Models (2201.09865)."""
