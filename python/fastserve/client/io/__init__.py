"""Sockets: blocking ones, and those of an asyncio loop, behind one face (connections.py)."""
