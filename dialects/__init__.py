"""The IR of mxc: the dialects and what they share. Knows no passes."""
