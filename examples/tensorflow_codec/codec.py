"""A small joint source-channel codec in Keras: four convolutions at each end, any budget, told the SNR at the receiver.

    picture -> 4 convolutions, 1/4 of the sides -> first c of 16 channels -> pairs -> complex symbols
    picture <- 4 convolutions <- 16 channels, the missing ones 0, and the noise variance <- pairs <- received symbols

c is the most even number of channels that fits the budget: c/2 symbols per 4 x 4 pixels, CBR c/96 (1/48 to 1/6).
"""

from pathlib import Path

import keras
import numpy as np

CHANNELS, STRIDE = 16, 4
WEIGHTS = Path(__file__).with_name("weights.npz")


def _convolution(filters, size, stride=1, activation="relu", transposed=False):
    layer = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
    return layer(filters, size, strides=stride, padding="same", activation=activation)


def build_encoder():
    """float32 [B, h, w, 3] within -1..1 -> float32 [B, h/4, w/4, 16]."""
    layers = [_convolution(24, 5, 2), _convolution(32, 5, 2), _convolution(32, 3), _convolution(CHANNELS, 3, activation=None)]
    return keras.Sequential([keras.Input((None, None, 3)), *layers], name="encoder")


def build_decoder():
    """float32 [B, h/4, w/4, 17] (the last channel: noise variance) -> float32 [B, h, w, 3]."""
    layers = [
        _convolution(32, 3),
        _convolution(32, 3),
        _convolution(24, 5, 2, transposed=True),
        _convolution(3, 5, 2, activation=None, transposed=True),
    ]
    return keras.Sequential([keras.Input((None, None, CHANNELS + 1)), *layers], name="decoder")


def save(encoder, decoder, path=WEIGHTS):
    """Both ends as half-precision arrays; no pickle."""
    arrays = {f"{net.name}_{i}": w.astype(np.float16) for net in (encoder, decoder) for i, w in enumerate(net.get_weights())}
    np.savez(path, **arrays)


def load(net, path=WEIGHTS):
    """Fill `net` (an encoder or a decoder) with its weights."""
    with np.load(path, allow_pickle=False) as arrays:
        net.set_weights([arrays[f"{net.name}_{i}"].astype(np.float32) for i in range(len(net.get_weights()))])
    return net


def channels_for(uses, height, width):
    """Even number of channels whose symbols fit the budget, and the positions (rows, columns) they stand at."""
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    count = min(2 * (uses // (rows * columns)), CHANNELS)
    if count < 2:
        raise ValueError(f"{uses} uses for {height} x {width} pixels; this codec needs at least {rows * columns} (CBR 1/48)")
    return count, rows, columns
