"""Backends: what mxc can turn a module into, and the contract for vendors."""
