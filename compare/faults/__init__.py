"""Known mistakes: the catalogue of them, planting one, a lesson on one, and the audit of what a run would not show."""
