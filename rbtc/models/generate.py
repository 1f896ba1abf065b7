"""Pictures from prompts and seeds, one seed per picture.

A picture is a function of its own prompt and its own seed: neither its batch nor the device changes
the noise it starts from.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seeded_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per seed: CPU streams are the same on every machine.

    Raises:
        ValueError: For a seed that is not a whole number of at most 64 bits.
    """
    generators = []
    for seed in seeds:
        try:
            generators.append(torch.Generator("cpu").manual_seed(operator.index(seed)))
        except (TypeError, RuntimeError, OverflowError, ValueError) as error:
            raise ValueError(
                f"a seed must be a whole number of at most 64 bits, not {seed!r}"
            ) from error
    return generators


def draw_noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
    """Standard normal start noise, (n, channels, height, width) float32, one stream per generator.

    Drawn on the CPU: batch, dtype and device do not change the numbers. ``shape`` is that of one
    latent, (channels, height, width).
    """
    return torch.stack([torch.randn(tuple(shape), generator=each) for each in generators])


def latent_shape(pipe: Any) -> tuple[int, int, int]:
    """Shape (channels, height, width) of one latent at the size the pipeline was trained for."""
    size = pipe.unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return (int(pipe.unet.config.in_channels), int(height), int(width))


def picture_size(pipe: Any) -> tuple[int, int]:
    """Height and width in pixels of a picture at the size the pipeline was trained for."""
    _, height, width = latent_shape(pipe)
    return height * int(pipe.vae_scale_factor), width * int(pipe.vae_scale_factor)


@contextmanager
def _plain(pipe: Any) -> Iterator[None]:
    """Switch the safety checker and the pipeline's own progress bar off, and put both back."""
    checker = pipe.safety_checker
    bar = dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.safety_checker = None
    pipe.set_progress_bar_config(**{**bar, "disable": True})
    try:
        yield
    finally:
        pipe.safety_checker = checker
        pipe.set_progress_bar_config(**bar)


def call_pipeline(
    pipe: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    guidance: float | None = None,
    output_type: str = "np",
    **options: Any,
) -> Any:
    """Run the pipeline on one batch, each picture from the noise of its own seed.

    Schedulers that add noise at every step get one generator per picture: the one that drew the
    start noise, read further on, since a fresh one of the same seed would repeat that noise.

    Args:
        pipe: A Stable Diffusion pipeline.
        prompts: n prompts.
        seeds: n seeds.
        steps: Denoising steps; None keeps the pipeline's default, as of the guidance scale.
        guidance: Guidance scale.
        output_type: "np" for floats in [0, 1], "latent" to skip decoding.
        **options: Further arguments of the pipeline call.

    Returns:
        Whatever the pipeline returns as `.images`.
    """
    if steps is not None:
        options["num_inference_steps"] = steps
    if guidance is not None:
        options["guidance_scale"] = guidance
    generators = seeded_generators(seeds)
    noise = draw_noise(generators, latent_shape(pipe)).to(pipe.unet.dtype)
    with _plain(pipe):
        return pipe(
            prompt=list(prompts),
            latents=noise,
            generator=generators,
            output_type=output_type,
            **options,
        ).images


def check_prompts(prompts: Sequence[str], seeds: Sequence[int]) -> None:
    """Refuse lists that no pipeline call can serve.

    Raises:
        ValueError: For a bare string, no prompts, something that is not a string, or a number of
            seeds that is not that of the prompts.
    """
    if isinstance(prompts, str):
        raise ValueError(f"prompts must be a list of strings, not the one string {prompts!r}")
    if len(prompts) == 0:
        raise ValueError("no prompts were given: give at least one prompt and one seed")
    wrong = [prompt for prompt in prompts if not isinstance(prompt, str)]
    if wrong:
        raise ValueError(f"prompts must be strings, but {wrong[0]!r} is one of them")
    if len(prompts) != len(seeds):
        raise ValueError(
            f"{len(prompts)} prompts but {len(seeds)} seeds were given: give one seed per prompt"
        )


def check_settings(
    seeds: Sequence[int], batch_size: int, steps: int | None, guidance: float | None
) -> None:
    """Refuse settings that no pipeline call can serve.

    Raises:
        ValueError: For a seed that is not a whole number of at most 64 bits, a batch size or step
            count below 1, or a guidance that is not finite.
    """
    seeded_generators(seeds)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if guidance is not None and not np.isfinite(guidance):
        raise ValueError(f"guidance must be a finite number, not {guidance}")


def _to_uint8(images: np.ndarray) -> np.ndarray:
    bad = ~np.isfinite(images).all(axis=(1, 2, 3))
    if bad.any():
        # Half-precision models overflow when their weights are disturbed strongly.
        warnings.warn(
            f"{int(bad.sum())} of {len(images)} pictures held NaN or infinity and were blackened "
            "there: load the model in float32 if this is not what you study",
            stacklevel=3,
        )
        images = np.nan_to_num(images, nan=0.0, posinf=1.0, neginf=0.0)
    return (images * 255).round().astype(np.uint8)


def smaller_batch(size: int, error: RuntimeError) -> int:
    """Half a batch of ``size`` pictures that did not fit into memory, with a warning.

    Raises:
        MemoryError: not even one picture fits.
        RuntimeError: ``error`` itself, where it is anything but a lack of memory.
    """
    # A CPU's allocator raises a plain RuntimeError.
    lacking = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    if not lacking:
        raise error
    if size <= 1:
        raise MemoryError(
            "not even one picture fits into the device's memory: end what else is using it, or "
            "take a device with more"
        ) from error
    half = size // 2
    warnings.warn(
        f"{size} pictures do not fit into the device's memory: going on with {half} at a time; set "
        f"the profile's batch_size to {half} to begin with that",
        RuntimeWarning,
        stacklevel=3,
    )
    return half


def generate(
    pipe: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch_size: int = 32,
    steps: int | None = None,
    guidance: float | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Generate one picture per prompt and seed, uint8 (n, height, width, 3).

    The pictures are the same for every batch size, up to rounding. The safety checker is off during
    the call and back in place afterwards.

    Args:
        pipe: A Stable Diffusion pipeline.
        prompts: n prompts.
        seeds: n whole numbers, one per prompt.
        batch_size: Pictures per pipeline call.
        steps: Denoising steps; None keeps the pipeline's default.
        guidance: Guidance scale; None keeps the pipeline's default.
        progress: Show one bar over the pictures.

    Raises:
        ValueError: For a bare string, no prompts, unequal lengths, seeds that are not whole
            numbers, a batch size or step count below 1, or a guidance that is not finite.
    """
    from tqdm.auto import tqdm

    check_prompts(prompts, seeds)
    check_settings(seeds, batch_size, steps, guidance)
    parts: list[np.ndarray] = []
    start = 0
    with tqdm(total=len(prompts), unit="picture", disable=not progress) as bar:
        while start < len(prompts):
            part = slice(start, min(start + batch_size, len(prompts)))
            images = None
            try:
                images = call_pipeline(
                    pipe, prompts[part], seeds[part], steps=steps, guidance=guidance
                )
            except RuntimeError as error:
                batch_size = smaller_batch(part.stop - part.start, error)
            if images is None:  # only now has the error let go of what it held
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            parts.append(_to_uint8(images))
            bar.update(part.stop - part.start)
            start = part.stop
    return np.concatenate(parts)  # (n, h, w, 3)
