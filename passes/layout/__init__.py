"""Block-axis assignment: which quantised versions of each tensor to make, when, and from what."""
