"""One config of each family of methods, in miniature."""

AUTOENCODER = "configs/vae.py:digits_debug"
TEXT = "configs/gpt.py:shakespeare_bpe_debug"
FAMILIES = (
    "configs/ddpm.py:digits_debug",
    AUTOENCODER,
    "configs/gan.py:ring_debug",
    "configs/ppo.py:cartpole_debug",
    TEXT,
    "configs/word2vec.py:skipgram_debug",
    "configs/minilm.py:gloss_categories_lora_debug",
)
