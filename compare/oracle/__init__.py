"""Torch as the trusted witness: references, local replay, an optimiser that follows."""
