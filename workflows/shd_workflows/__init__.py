"""The Nipype workflows of shd-bids."""
