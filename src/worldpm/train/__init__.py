"""Batches of token trees -> checkpoints."""
