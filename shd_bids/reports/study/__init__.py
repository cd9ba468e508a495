"""The report of a study: all measures of all series, what stands out, what is missing."""
