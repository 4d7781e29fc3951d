"""The lecture notes, statement by statement: as written, corrected, and the evidence, computed by both sides.

Rows stand in compare/notes/statements.py, what proves them in the other modules of this folder; nothing is stored.
"""
