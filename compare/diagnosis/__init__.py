"""Which mistake explains a wrong tensor; ranking.py is where to begin."""
