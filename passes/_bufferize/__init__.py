"""Helpers of the `bufferize` pass."""
