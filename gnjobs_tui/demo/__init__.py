"""The demo: real jobs of several users on a Redis server of its own."""
