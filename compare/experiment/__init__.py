"""The notes' network as a check: its settings, data, bounds, and the evaluation of many steps at once."""
