"""The portfolio model: from scores to target weights."""
