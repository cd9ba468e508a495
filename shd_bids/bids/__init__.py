"""What comes in from a BIDS dataset and what files are called going out."""
