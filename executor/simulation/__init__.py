"""The real core in a simulated world: venue, ledger, clock and every fault, all from one seed."""
