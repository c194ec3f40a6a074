"""Reactivity: which live query a commit touches, and its run that follows."""
