"""From embeddings of any model to anomaly scores and the official score (no JAX model involved)."""
