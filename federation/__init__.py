"""The contract that coordinator and hospitals share: pure functions and typed records."""
