"""Back ends: one file each, from a bank of normal embeddings to a score per test embedding (see
fitted.py).
"""
