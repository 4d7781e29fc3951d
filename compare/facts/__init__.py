"""Everything that can be said, as values: causes, notes, blind spots, each with a code and one sentence."""
