"""Scores -> outcomes."""
