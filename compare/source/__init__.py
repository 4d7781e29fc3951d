"""Where in the user's code a tensor is computed."""
