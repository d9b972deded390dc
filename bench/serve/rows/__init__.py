"""One module per row of the benchmark; each has `run(session) -> Row`."""
