"""Threads and published sets -> comparisons."""
