"""The cost model: regulatory fees, spread and market impact."""
