"""The benchmark harness: nothing here is imported by the server."""
