"""Edits of the recorded graph: what a step may give by mistake, by the kind of step."""
