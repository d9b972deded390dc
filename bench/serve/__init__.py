"""End-to-end figures of an installed fastserve, each beside its speed of light.

Run it as `python -m bench.serve`; bench/README.md says what is measured and what is not.
"""
