"""Converts a JAX function to ONNX, by jax2onnx (extra `export`)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax2onnx
import onnx


def onnx_model(
    function: Callable,
    shape: Sequence[int | str],
    name: str,
    outputs: Sequence[str],
    properties: Mapping[str, str] = MappingProxyType({}),
):
    """Returns an ONNX model of a function of one float32 array, with properties in its metadata.

    The open axes of the array are given by name. Products with weights become MatMul nodes.
    """
    # onnx_ir warns about every shape that stays open, which is intended here.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    made = jax2onnx.to_onnx(
        function, [tuple(shape)], input_names=[name], output_names=list(outputs)
    )
    # Runtimes have faster kernels for MatMul than for Einsum, and can quantise them.
    for node in made.graph.node:
        if node.op_type == "Einsum" and node.attribute[0].s == b"abc,cd->abd":
            node.op_type = "MatMul"
            del node.attribute[:]
    if properties:
        onnx.helper.set_model_props(made, dict(properties))
    return made
