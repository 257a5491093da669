"""Weights from elsewhere: Hugging Face's files read into our networks, and written from them."""
