"""The rules of `canonicalize`, by level of the IR."""
