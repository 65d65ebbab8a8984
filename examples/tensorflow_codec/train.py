"""How weights.npz came about: python train.py FOLDER_OF_PICTURES --minutes 6

Random 64 x 64 crops; AWGN of -2 to 20 dB, drawn per crop; 2 to 16 channels, drawn per step; mean squared error; Adam.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import codec
import numpy as np
import tensorflow as tf
from PIL import Image

BATCH, CROP = 32, 64


def crops(pictures, generator):
    """float32 [BATCH, CROP, CROP, 3] within -1..1."""
    batch = np.empty((BATCH, CROP, CROP, 3), np.float32)
    for item in batch:
        picture = pictures[generator.integers(len(pictures))]
        top, left = (generator.integers(side - CROP + 1) for side in picture.shape[:2])
        item[:] = picture[top : top + CROP, left : left + CROP]
    return batch / 127.5 - 1


@tf.function
def step(encoder, decoder, optimizer, pixels, kept):
    """One update; `kept` float32 [16] is 1 for the channels that are sent. Returns the mean squared error."""
    noise_var = 10.0 ** (-tf.random.uniform((BATCH, 1, 1, 1), -2.0, 20.0) / 10.0)
    with tf.GradientTape() as tape:
        latent = encoder(pixels) * kept
        share = tf.reduce_sum(kept) / codec.CHANNELS
        latent *= tf.math.rsqrt(tf.reduce_mean(latent**2, axis=(1, 2, 3), keepdims=True) / share + 1e-9)
        # unit power per real dimension, so the whole complex noise variance per real dimension
        received = (latent + tf.random.normal(tf.shape(latent)) * tf.sqrt(noise_var)) * kept
        level = tf.broadcast_to(noise_var, tf.concat([tf.shape(latent)[:3], [1]], 0))
        loss = tf.reduce_mean((decoder(tf.concat([received, level], -1)) - pixels) ** 2)
    weights = encoder.trainable_variables + decoder.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = [f for f in sorted(options.folder.rglob("*")) if f.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"}]
    pictures = [np.asarray(Image.open(f).convert("RGB")) for f in files]
    pictures = [p for p in pictures if min(p.shape[:2]) >= CROP]
    print(f"{len(pictures)} pictures")
    tf.keras.utils.set_random_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    encoder, decoder = codec.build_encoder(), codec.build_decoder()
    optimizer = tf.keras.optimizers.Adam(1e-3)
    start, number, mean = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - start) / (60 * options.minutes)) < 1:
        optimizer.learning_rate = 1e-3 if share < 0.7 else 2e-4
        kept = np.arange(codec.CHANNELS) < 2 * generator.integers(1, codec.CHANNELS // 2 + 1)
        loss = float(step(encoder, decoder, optimizer, crops(pictures, generator), tf.constant(kept, tf.float32)))
        mean += 0.02 * (loss - mean) if number else loss
        number += 1
        if number % 200 == 0:
            print(f"step {number}: mean squared error {mean:.5f}, PSNR {10 * np.log10(4 / mean):.2f} dB", flush=True)
    codec.save(encoder, decoder)
    print(f"{number} steps, {codec.WEIGHTS.stat().st_size} bytes")


if __name__ == "__main__":
    main()
