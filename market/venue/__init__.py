"""A local exchange that speaks Alpaca's and Polygon's protocols and replays a tape of real prices."""
