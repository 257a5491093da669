"""Measures between sets of feature vectors; nothing here knows where the features come from."""
