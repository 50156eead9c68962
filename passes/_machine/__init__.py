"""What the passes of the machine level share."""
