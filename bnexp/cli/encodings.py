"""Output that isn't UTF-8, as in a Windows console: what its encoding lacks is written in ASCII."""

import codecs
import io
import sys
from unicodedata import combining, normalize

LACKING = "bnexp"
"""Names the way in which characters are written that an encoding lacks."""

_PAIRS = """
× x   · .   • *   − -   – -   — -   ‐ -   … ...   ’ '   ‘ '   “ "   ” "   „ "   ′ '   † +   ‖ ||   ⁄ /   ° deg
→ ->  ← <-  ↑ ^   ↓ v   ± +/- ≥ >=  ≤ <=  ≠ !=    ≈ ~   √ sqrt  ∞ inf   ∂ d    ∇ grad
─ -   │ |   ┤ +   ├ +   ┬ +   ┴ +   ┼ +   ┌ +     ┐ +   └ +     ┘ +    ╷ |    ╵ |    ╴ -    ╶ -    ━ -
α alpha   β beta   γ gamma   δ delta   ε eps   η eta   θ theta   λ lambda   μ mu   ρ rho   σ sigma   τ tau   φ phi
Γ Gamma   Δ Delta  Θ Theta   Λ Lambda  Σ Sigma Φ Phi   Ω Omega
"""
_ASCII = dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True))
_BRAILLE = range(0x2801, 0x2900)
"""Dots that curves in a terminal are drawn with."""


def write_everywhere() -> None:
    """Let standard output and error say in ASCII what their encoding lacks, in place of an error after all the work."""
    codecs.register_error(LACKING, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=LACKING)


def as_written(text: str) -> str:
    """Return text as standard output will show it, so that columns are as wide as what stands in them."""
    return text if is_unicode() else text.encode(sys.stdout.encoding, LACKING).decode(sys.stdout.encoding)


def is_unicode() -> bool:
    """Tell whether standard output can show every character."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(sign: str) -> str:
    """Return a letter without its accents, a small figure as a figure, a sign in words, and of all others a ?."""
    if combining(sign):
        return ""
    if ord(sign) in _BRAILLE:
        return "."
    parts = normalize("NFKD", sign)
    return "".join(_ASCII.get(part, part if part.isascii() else "") for part in parts) or "?"
