"""Batches of token trees -> scores."""
