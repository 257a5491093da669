"""One config of each family of methods, in miniature."""

DIFFUSION = "configs/ddpm.py:digits_debug"
TEXT = "configs/gpt.py:shakespeare_bpe_debug"
FAMILIES = (
    DIFFUSION,
    "configs/vae.py:digits_debug",
    "configs/gan.py:ring_debug",
    "configs/ppo.py:cartpole_debug",
    TEXT,
)
