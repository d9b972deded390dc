"""Programs that ask a server."""
