"""The books: the ledger (the one writer path), state, lots, valuation, audit."""
