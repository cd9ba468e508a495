"""Pictures of one run: each function takes arrays and writes one SVG or PNG file."""
