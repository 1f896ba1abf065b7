"""How long a picture takes on this device, measured on the spot."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from rbtc.models.generate import latent_shape, smaller_batch
from rbtc.models.profiles import Profile


@torch.no_grad()
def measure(
    pipe: Any, profile: Profile, *, calls: int = 4, clock: Callable[[], float] | None = None
) -> float:
    """Seconds per picture, from ``calls`` calls of the UNet on a full batch.

    A picture costs as many calls as its scheduler makes, each for both halves of classifier-free
    guidance; decoding is left out, which is some per cent. The first call is not counted. A batch
    that does not fit into memory is halved. ``clock`` gives the seconds now; None takes the
    machine's.
    """
    clock = clock or time.perf_counter

    def now() -> float:
        if unet.device.type == "cuda":
            torch.cuda.synchronize(unet.device)
        return clock()

    unet, batch = pipe.unet, profile.batch_size
    pipe.scheduler.set_timesteps(profile.steps)
    per_picture = len(pipe.scheduler.timesteps)
    halves = 2 if profile.guidance > 1 else 1
    while True:
        try:
            shape = (halves * batch, *latent_shape(pipe))
            latents = torch.zeros(shape, dtype=unet.dtype, device=unet.device)
            width = int(unet.config.cross_attention_dim)
            text = torch.zeros(halves * batch, 77, width, dtype=unet.dtype, device=unet.device)
            unet(latents, 1, encoder_hidden_states=text)
            start = now()
            for _ in range(calls):
                unet(latents, 1, encoder_hidden_states=text)
            return (now() - start) / calls * per_picture / batch
        except RuntimeError as error:
            batch = smaller_batch(batch, error)
