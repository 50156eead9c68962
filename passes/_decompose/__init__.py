"""The decompositions of `decompose`, one family of operators per file."""
