"""Block operations as plain loops, for machines that lack them."""
