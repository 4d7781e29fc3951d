"""Torch as the trusted witness. Its files in the order of reading:

replay      every operation of a reference evaluated on the derivation's own recorded tensors
reference   a user's reference, run on its own tensors and replayed on records
optimizer   torch's optimiser, following a derivation from step to step
kernels     torch's operations by how they round
noise       a reference evaluated with roundings of its own
inexact     torch put right where it is known to be inexact
"""
