"""Fast Inference from Transformers via Speculative Decoding (2211.17192)."""
