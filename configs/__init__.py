"""Contains the configs; asd_jax/config.py defines every key."""
