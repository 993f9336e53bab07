"""The label of a box, 62 × 40 mm: its id, the hash of its key to compare with, and both as a QR code."""

import argparse
import asyncio
import io
import re
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import segno
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from appliance.domain.errors import ConfigError
from provisioning import show
from provisioning.box import met
from provisioning.errors import FINE

WIDTH_MM, HEIGHT_MM = 62, 40
QR_MM, MARGIN_MM = 24, 2
DOTS_PER_MM = 12  # 300 dpi, as label printers have
TITLE = "storebox"
# Without accents: the font of the picture has none.
WORDS = "Empreinte de clef / key hash:"
_BOX = re.compile(r"sb-[a-z2-7]{16}", re.ASCII)
_FP = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Labelled(msgspec.Struct, frozen=True):
    """A label that was drawn."""

    box: str
    key_hash: str
    file: str
    code: str


def label(args: argparse.Namespace) -> int:
    """Draw a label, of what is said or of what a box on this LAN says."""
    box, fp = args.box, args.key_hash
    if args.source is not None:
        box, fp = asyncio.run(_asked(args.source))
    if not box or not fp:
        raise ConfigError("say --box and --key-hash, or --from the box itself")
    if not _BOX.fullmatch(box) or not _FP.fullmatch(fp):
        raise ConfigError("a box is called sb- and 16 letters, and the hash of its key has 43 characters")
    draw = {".pdf": pdf, ".png": png}.get(args.out.suffix.lower())
    if draw is None:
        raise ConfigError(f"{args.out}: a label is a .pdf or a .png")
    _write(args.out, draw(box, fp))
    show.answer(args, Labelled(box, fp, str(args.out), code(box, fp)), f"the label of {box} is in {args.out}")
    return FINE


def code(box: str, fp: str) -> str:
    """The text of the QR code."""
    return "storebox:box?" + urlencode([("v", "1"), ("b", box), ("f", fp)])


def grouped(fp: str) -> list[str]:
    """The hash as people compare it: groups of four, in lines of four."""
    groups = [fp[at : at + 4] for at in range(0, len(fp), 4)]
    return [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]


def pdf(box: str, fp: str) -> bytes:
    """The label as a page of its own size."""
    page = FPDF(unit="mm", format=(WIDTH_MM, HEIGHT_MM))
    page.set_auto_page_break(False)
    page.set_margin(0)
    page.set_title(f"storebox {box}")
    page.add_page()
    page.image(io.BytesIO(_qr(box, fp, scale=8)), x=MARGIN_MM, y=MARGIN_MM, w=QR_MM, h=QR_MM)
    left = QR_MM + 2 * MARGIN_MM
    page.set_font("Helvetica", "B", 14)
    page.text(left, 8, TITLE)
    page.set_font("Helvetica", size=5.5)
    page.text(left, 13, WORDS)
    page.set_font("Courier", "B", 8)
    for number, line in enumerate(grouped(fp)):
        page.text(left, 17 + 3.6 * number, line)
    page.set_font("Courier", "B", 14)
    page.text(MARGIN_MM, HEIGHT_MM - 5, box)
    return bytes(page.output())


def png(box: str, fp: str) -> bytes:
    """The label as a picture of 300 dpi."""
    picture = Image.new("L", (WIDTH_MM * DOTS_PER_MM, HEIGHT_MM * DOTS_PER_MM), 255)
    pen = ImageDraw.Draw(picture)
    modules = int(segno.make_qr(code(box, fp), error="m").symbol_size(scale=1, border=2)[0])
    with Image.open(io.BytesIO(_qr(box, fp, scale=QR_MM * DOTS_PER_MM // modules))) as drawn:
        picture.paste(drawn.convert("L"), (MARGIN_MM * DOTS_PER_MM, MARGIN_MM * DOTS_PER_MM))

    def text(x_mm: float, y_mm: float, height_mm: float, words: str) -> None:
        font = ImageFont.load_default(height_mm * DOTS_PER_MM)
        pen.text((x_mm * DOTS_PER_MM, y_mm * DOTS_PER_MM), words, fill=0, font=font)

    left = QR_MM + 2 * MARGIN_MM
    text(left, 3, 5, TITLE)
    text(left, 10, 2.1, WORDS)
    for number, line in enumerate(grouped(fp)):
        text(left, 14 + 3.6 * number, 2.9, line)
    text(MARGIN_MM, HEIGHT_MM - 9, 5, box)
    file = io.BytesIO()
    picture.save(file, "PNG", dpi=(DOTS_PER_MM * 25.4,) * 2)
    return file.getvalue()


def _qr(box: str, fp: str, *, scale: int) -> bytes:
    file = io.BytesIO()
    segno.make_qr(code(box, fp), error="m").save(file, kind="png", scale=scale, border=2)
    return file.getvalue()


async def _asked(where: str) -> tuple[str, str]:
    async with met(where) as box:
        show.step(f"{box.hello.box} at {where}")
        return box.hello.box, box.hello.fp


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
