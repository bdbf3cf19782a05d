"""Finds or starts the servers a bare machine lacks, for demo, `up` and tests; standard library only."""
