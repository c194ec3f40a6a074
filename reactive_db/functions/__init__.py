"""Functions: queries, mutations and actions, what they are handed, and how they are run."""
