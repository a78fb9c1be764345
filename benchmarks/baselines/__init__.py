"""The iterative methods of the literature, which optimize each frame: slow, and what quick ones are held against."""
