"""What Can Transformers Learn In-Context? A Case Study of Simple Function Classes (2208.01066)."""
