"""Our posterior beside others'."""
