"""Auto-Encoding Variational Bayes (1312.6114)."""
