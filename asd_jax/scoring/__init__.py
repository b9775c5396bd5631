"""Turns embeddings of any model into anomaly scores and the official score, without a JAX model."""
