"""Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets (2201.02177)."""
