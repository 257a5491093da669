"""The claim ledger: what papers say, measured here, with verdicts."""
