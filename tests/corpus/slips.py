"""All derivations with slips that were written while the naming of mistakes was made: no measure of what is new."""

from tests.corpus import slips_layers, slips_losses, slips_norms, slips_sequences

OPERATIONS = (
    *slips_losses.OPERATIONS,
    *slips_norms.OPERATIONS,
    *slips_sequences.OPERATIONS,
    *slips_layers.OPERATIONS,
)
