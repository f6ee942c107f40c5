"""Validation: walk-forward, performance statistics, Monte Carlo and crisis replay."""
