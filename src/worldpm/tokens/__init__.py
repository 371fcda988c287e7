"""Comparisons -> token trees -> batches."""
