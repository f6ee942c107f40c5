"""A session on record: what the engine was told, what it answered, and the same answers again."""
