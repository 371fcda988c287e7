"""Forum dumps -> threads."""
