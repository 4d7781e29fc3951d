"""Which mistake explains a wrong tensor; ranking.py is where to begin."""

__all__: list[str] = []
