"""Data: pinned packages, TFDS builders, and Grain pipelines whose place can be saved."""
