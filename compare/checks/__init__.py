"""The checks of a user's own code, and the one pipeline that they feed."""
