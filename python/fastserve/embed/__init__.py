"""A server inside the program that uses it: fastserve.Server, Model and Listener."""
