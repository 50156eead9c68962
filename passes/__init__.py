"""The passes of mxc, one file each."""
