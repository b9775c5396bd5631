"""Example encoders in other frameworks, to copy and change:
`--encoder=benchmarks.examples.onnx_file:embed`.
"""
