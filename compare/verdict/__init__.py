"""Rounding or fault: the verdict on a tensor, and which tensors are culprits."""
