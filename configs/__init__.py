"""Configs: base.py comments every key."""
