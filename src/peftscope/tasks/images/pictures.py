"""Pictures from the user's files, each as a person would see it: upright, in RGB, of one size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from peftscope.errors import DataError

__all__ = ["MOST_PIXELS", "PICTURE_SUFFIXES", "fitted_square", "read_picture"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MOST_PIXELS = 64_000_000
"""More than any camera's; a file of a few kilobytes can say that it has a thousand times as many."""
PAPER = (255, 255, 255)
"""What stands behind what is transparent."""


def read_picture(file: Path | BinaryIO, *, name: str | None = None) -> Image.Image:
    """A picture in RGB, turned as its camera was held; what is transparent lies on white.

    Args:
        file: Its path, or its content.
        name: What messages call it; its path where nothing is given.

    Raises:
        DataError: It is missing, no picture, cut off, moves, or is larger than any camera's.
    """
    path = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that are refused below, of metadata nobody reads
            with Image.open(file) as picture:
                _refuse(path, picture)
                picture.load()
                return _in_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (looked for {Path(path).absolute()})") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: no picture in a format that can be read") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises of files that are damaged
        raise DataError(f"{path}: cut off or damaged: {error}") from error


def fitted_square(picture: Image.Image, side: int) -> Image.Image:
    """The middle square of a picture, ``side`` pixels wide and high."""
    return ImageOps.fit(picture, (side, side), method=Image.Resampling.LANCZOS)


def _refuse(path: str, picture: Image.Image) -> None:
    """By the header alone, before anything is unpacked."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{path}: {width:,} × {height:,} pixels; at most {MOST_PIXELS / 1e6:.0f} million are read: make it smaller"
        )
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise DataError(f"{path}: moves ({frames} frames); give one of them as a picture of its own")


def _in_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        see_through = picture.convert("RGBA")
        paper = Image.new("RGBA", see_through.size, (*PAPER, 255))
        return Image.alpha_composite(paper, see_through).convert("RGB")
    if picture.mode.startswith(("I;16", "I", "F")):  # of 16 bits: its darkest is black and its lightest white
        values = np.asarray(picture, dtype=np.float64)
        span = float(values.max() - values.min()) or 1.0
        return Image.fromarray(((values - values.min()) * (255.0 / span)).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")
