"""How candidates times examples become few, full batches."""
