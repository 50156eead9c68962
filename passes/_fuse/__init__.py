"""What `fuse-elementwise` is made of: loops as editable lists of operands, costs, inlining."""
