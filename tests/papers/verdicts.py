"""Verdicts that tests ask for: of a claim as its module stands, broken or whole."""

import dataclasses

from papers import ledger

ALL = {claim.id: claim for claim in ledger.claims()}


def verdict(claim_id, seeds=1):
    """The verdict's name on so many seeds measured anew.

    A single one stands for two that agree: alone it has no interval, and no order would hold.
    """
    measured = [ALL[claim_id].measure(seed) for seed in range(seeds)]
    measured = measured * 2 if seeds == 1 else measured
    return ledger.judge(dataclasses.replace(ALL[claim_id], seeds=len(measured)), measured).name
