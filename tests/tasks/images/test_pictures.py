"""Pictures are seen as a person would see them, or refused before anything is trained."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peftscope.errors import DataError
from peftscope.tasks.images.pictures import fitted_square, read_picture

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dreambooth"


def _half_red(mode: str = "RGB") -> Image.Image:
    """Red on the left and blue on the right, wider than high."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 255
    return Image.fromarray(pixels).convert(mode)


def test_a_picture_held_sideways_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise to be shown
    _half_red().save(tmp_path / "a.png", exif=exif)
    found = read_picture(tmp_path / "a.png")
    assert found.size == (20, 40)
    assert found.getpixel((10, 2)) == (255, 0, 0)
    assert found.getpixel((10, 38)) == (0, 0, 255)


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("CMYK", "jpg"), ("P", "gif"), ("1", "png"), ("LA", "png")])
def test_every_way_of_storing_colours_becomes_rgb(mode: str, suffix: str, tmp_path: Path) -> None:
    _half_red(mode).save(tmp_path / f"a.{suffix}")
    found = read_picture(tmp_path / f"a.{suffix}")
    assert (found.mode, found.size) == ("RGB", (40, 20))
    if mode in ("CMYK", "P"):
        red, green, blue = found.getpixel((5, 10))  # type: ignore[misc]
        assert red > 180 > 90 > max(green, blue)


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 5, 10))
    picture.save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.getpixel((2, 2)) == (0, 0, 255)
    assert found.getpixel((8, 2)) == (255, 255, 255)


def test_sixteen_bits_are_spread_over_eight(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65_535, 256, dtype=np.uint16).reshape(16, 16)).save(tmp_path / "a.png")
    found = np.asarray(read_picture(tmp_path / "a.png"))
    assert (found.min(), found.max()) == (0, 255)
    assert 120 < found.mean() < 136


def test_a_moving_picture_is_refused(tmp_path: Path) -> None:
    frames = [_half_red(), Image.new("RGB", (40, 20))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="moves \\(2 frames\\)"):
        read_picture(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_that_is_cut_off_is_refused(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut off or damaged|no picture"):
        read_picture(tmp_path / f"a.{suffix}")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match="no picture in a format"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="no such file"):
        read_picture(tmp_path / "b.png")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    began = time.process_time()
    with pytest.raises(DataError, match="pixels"):
        read_picture(tmp_path / "a.png")
    assert time.process_time() - began < 1.0


def test_the_middle_square_is_taken() -> None:
    found = fitted_square(_half_red(), 10)
    assert found.size == (10, 10)
    assert found.getpixel((1, 5)) == (255, 0, 0)
    assert found.getpixel((8, 5)) == (0, 0, 255)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the DreamBooth subjects are not at {SHARED}")
def test_real_photographs_are_read() -> None:
    files = sorted(SHARED.glob("*/*.jpg"))
    assert len(files) > 20
    assert {fitted_square(read_picture(file), 64).size for file in files} == {(64, 64)}
