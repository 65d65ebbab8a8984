"""Codecs that live in another process and environment: TensorFlow/Keras, JAX, MATLAB, C++ (docs/external.md)."""
