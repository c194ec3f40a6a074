"""The engine: transactions at snapshots, validated and committed one after the other."""
