"""Makes a head, the classifier with its loss, by a function of the user's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import named_function

_KEY = "arcface.head"


def own_head(name: str, classes: int) -> nn.Module:
    """Returns the Flax module that the user's function makes for a number of classes c.

    The module has the attribute `classes`, and maps embeddings "b e" and soft labels "b c" to
    (logits, similarities), both "b c", as ArcFace does. The loss is the cross-entropy of the
    logits, unless the module has a method `loss` that maps logits and labels to a number.

    Args:
        name: package.module:function.
        classes: number of classes.

    Raises:
        InputError: there is no such function, or it returns something else.
    """
    head = named_function(name, _KEY)(classes)
    if not isinstance(head, nn.Module) or getattr(head, "classes", None) != classes:
        raise InputError(
            f"{_KEY}={name}: returned {type(head).__name__}; expected a flax.linen.Module whose "
            f"attribute classes is {classes}"
        )
    # Any width will do, as a head takes the width that it is given.
    embeddings = jnp.zeros((2, 8))
    labels = jnp.zeros((2, classes))
    key = jax.random.key(0)
    # Shapes alone: nothing is computed or compiled.
    found, _ = jax.eval_shape(head.init_with_output, key, embeddings, labels)
    shapes = [getattr(one, "shape", one) for one in found] if isinstance(found, tuple) else found
    if shapes != [(2, classes)] * 2:
        raise InputError(
            f"{_KEY}={name}: gave {shapes} for 2 embeddings; expected logits and similarities, "
            f"both (2, {classes})"
        )
    return head
