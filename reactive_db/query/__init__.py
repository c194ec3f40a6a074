"""Descriptions of one read: an index, a range of it, an order. Pure."""
