"""Shipped tools for tests: conformance suites, consistency checks, deterministic scenarios."""
