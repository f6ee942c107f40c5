"""What the world says: the exchange calendar, instruments and price history."""
