"""How the image is made: what goes into it, the list of that, and building without a daemon."""
