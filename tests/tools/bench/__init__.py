"""What `tests/bench` is made of: rows that measure, what they share, and the page that they end up on."""
