"""Small derivations by hand beside their torch references, right as they stand: the ground for mistakes elsewhere."""
