"""Scores: what a method drew, beside real data's own score and those of trivial baselines."""
