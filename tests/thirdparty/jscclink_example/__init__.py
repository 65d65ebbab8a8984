"""A channel, a scheme and a metric of one's own, in the form that jscclink picks up through entry points."""

import torch

from jscclink.channels.channel import Channel, Observation, Realisation, check_apply
from jscclink.simulator.metrics import Metric, Samples
from jscclink.simulator.scheme import Burst, OneShotScheme, Reconstruction


class Erasure(Channel):
    """Every use is lost with a probability; the receiver knows which.

    Parameters
    ----------
    probability
        Of losing a use, 0 to 1.
    """

    def __init__(self, *, probability: float = 0.1) -> None:
        self._probability = probability

    def generate(self, batch, uses, *, generator, device="cpu"):
        kept = torch.rand(batch, uses, generator=generator, device=generator.device) >= self._probability
        return Realisation({"kept": kept.to(device)}, batch, uses)

    def apply(self, symbols, realisation, noise_var, *, start=0):
        check_apply(symbols, realisation, noise_var, start)
        kept = realisation.tensors["kept"][:, start : start + symbols.shape[1]]
        return Observation(symbols * kept, kept.to(symbols.dtype), noise_var[:, None].expand(symbols.shape))


class Thumbnail(OneShotScheme):
    """The mean of each colour, one channel use each, sent as amplitude (0..255 scaled to 0..1) beside its complement."""

    def encode(self, source, budget, csi):
        mean = source.float().mean((2, 3)) / 255.0
        symbols = torch.complex(mean, 1.0 - mean)
        return Burst(symbols, torch.full((source.shape[0],), 3, dtype=torch.int64))

    def decode(self, reception, budget):
        symbols, _ = reception.unbiased()
        ratio = symbols[:, :3].real / (symbols[:, :3].real + symbols[:, :3].imag)
        mean = (255.0 * ratio.nan_to_num(0.5)).clamp(0, 255).round().to(torch.uint8)
        data = mean[:, :, None, None].expand(-1, *budget.shape).clone()
        return Reconstruction(data, torch.zeros(len(data), dtype=torch.bool))


class MeanError(Metric):
    """Difference of the mean grey levels of picture and reconstruction."""

    unit = "levels"
    better = "lower"
    sources = frozenset({"image"})

    def measure(self, source, passage):
        error = (source.double().mean((1, 2, 3)) - passage.reconstruction.data.double().mean((1, 2, 3))).abs()
        return Samples(error, torch.ones_like(error), "mean")
