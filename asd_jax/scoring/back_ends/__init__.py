"""Back ends: each file turns a bank of normal embeddings into a score per test embedding.

fitted.py defines their common interface.
"""
