"""Widgets that draw what they are given; they know neither Redis nor each other."""
