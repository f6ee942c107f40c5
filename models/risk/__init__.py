"""The risk model: the snapshot a book is checked with, and value at risk."""
