"""What a user reads: built from the ledger and results alone, without torch."""
