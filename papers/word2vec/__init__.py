"""Distributed Representations of Words and Phrases and their Compositionality (1310.4546)."""
