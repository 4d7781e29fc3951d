"""The one pipeline: what a derivation computes is recorded, judged, attributed, named and reported."""
