"""Modules by the names that they had earlier, such as asd_jax.errors, for programs that import
them.
"""
