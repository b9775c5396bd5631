"""The one error a user can cause and mend; asd_jax.command turns it into exit status 2."""


class InputError(ValueError):
    """Bad input: the message names the thing and says what to do about it."""
