"""The live core on historical bars: its trades, limits and breakers are those of live."""
