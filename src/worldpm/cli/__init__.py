"""The command line: verbs, each importing its stage inside itself."""
