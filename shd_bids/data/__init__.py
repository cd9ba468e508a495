"""Package data: name patterns, report specification, references."""
