"""The worker: `python worker.py` serves either end. jscclink puts jscclink_worker.py on the path of what it starts."""

import os

# a reproducible result needs one thread and the same kernels everywhere; TensorFlow reads these when it is imported
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}

import codec
import numpy as np
import tensorflow as tf
from jscclink_worker import Decoded, Encoded, serve

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


class Encoder:
    def __init__(self):
        self.net = codec.load(codec.build_encoder())

    def encode(self, request):
        _, _, height, width = request.images.shape
        count, rows, columns = codec.channels_for(request.uses, height, width)
        pixels = request.images.transpose(0, 2, 3, 1).astype(np.float32) / 127.5 - 1
        edge = (0, rows * codec.STRIDE - height), (0, columns * codec.STRIDE - width)
        latent = self.net(np.pad(pixels, ((0, 0), *edge, (0, 0)), mode="edge")).numpy()[..., :count]
        pairs = latent.reshape(len(latent), -1, 2)
        return Encoded(pairs[..., 0] + 1j * pairs[..., 1])


class Decoder:
    def __init__(self):
        self.net = codec.load(codec.build_decoder())

    def decode(self, request):
        count, rows, columns = codec.channels_for(request.uses, request.height, request.width)
        uses = rows * columns * count // 2
        # divide by the gain; the weights expect symbols of power 1, as the link sends them, and real parts of power 1
        power = np.maximum(np.abs(request.gain) ** 2, 1e-6)
        symbols = (request.symbols * request.gain.conj() / power)[:, :uses]
        noise_var = np.minimum(request.noise_var / power, 10.0)[:, :uses].mean(1)
        latent = np.zeros((len(symbols), rows, columns, codec.CHANNELS + 1), np.float32)
        pairs = np.sqrt(2.0) * np.stack([symbols.real, symbols.imag], axis=-1)
        latent[..., :count] = pairs.reshape(len(symbols), rows, columns, count)
        latent[..., -1] = noise_var[:, None, None]
        pixels = self.net(latent).numpy()[:, : request.height, : request.width]
        images = np.clip(np.round(127.5 * (pixels + 1)), 0, 255).astype(np.uint8)
        return Decoded(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


if __name__ == "__main__":
    serve({"encoder": Encoder, "decoder": Decoder}, name="keras-jscc", version="1")
