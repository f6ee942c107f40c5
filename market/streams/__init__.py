"""Live market data: Alpaca's and Polygon's sockets decoded at wire speed, supervised, gaps healed."""
