"""Measures of samples, texts and predictions; nothing here knows which model made them."""
