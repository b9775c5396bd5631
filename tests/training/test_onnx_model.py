"""Functions of JAX as ONNX models."""

import logging

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from asd_jax.training.onnx_model import onnx_model


@pytest.mark.slow
def test_a_product_with_weights_is_a_matmul_of_any_number_of_clips():
    weights = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    properties = {"rate": "16000", "source": "none"}
    model = onnx_model(
        lambda x: jnp.tanh(x @ weights), ("batch", 3, 4), "tokens", ["found"], properties
    )
    assert {entry.key: entry.value for entry in model.metadata_props} == properties
    assert not any(node.attribute for node in model.graph.node if node.op_type == "MatMul")
    assert logging.getLogger("onnx_ir").level == logging.ERROR
    assert {node.op_type for node in model.graph.node} >= {"MatMul", "Tanh"}
    assert not any(node.op_type == "Einsum" for node in model.graph.node)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for clips in (1, 2):
        tokens = np.random.default_rng(clips).normal(size=(clips, 3, 4)).astype(np.float32)
        (found,) = session.run(["found"], {"tokens": tokens})
        # Measured 1.2e-7.
        np.testing.assert_allclose(found, np.tanh(tokens @ weights), atol=2.4e-7)


def test_other_products_are_computed_as_they_are():
    def products(x):
        return jnp.einsum("btd,bsd->bts", x, x)

    model = onnx_model(products, ("batch", 3, 4), "tokens", ["found"])
    assert not model.metadata_props
    session = onnxruntime.InferenceSession(model.SerializeToString())
    tokens = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    (found,) = session.run(["found"], {"tokens": tokens})
    np.testing.assert_allclose(found, tokens @ tokens.swapaxes(1, 2), atol=1e-6)
