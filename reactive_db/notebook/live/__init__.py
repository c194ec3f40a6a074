"""Live outputs: cells and handles that are shown anew whenever what they read changes."""
