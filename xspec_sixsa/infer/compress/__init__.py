"""Spectrum to summary: five compressors behind one protocol.

A compressor is trained once a round and then maps recorded spectra (n, n_inputs), float64, to summaries
(n, n_summaries), float32, of order one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xspec_sixsa.infer.compress.autoencoder import Autoencoder
from xspec_sixsa.infer.compress.compressor import Compressor, summarise
from xspec_sixsa.infer.compress.fixed import Bands, Identity, PrincipalComponents
from xspec_sixsa.infer.compress.score import Score
from xspec_sixsa.infer.settings import COMPRESSORS

__all__ = ["COMPRESSORS", "Compressor", "compressor", "summarise"]

_MADE_BY: dict[str, Callable[..., Compressor]] = dict(
    zip(COMPRESSORS, (Autoencoder, PrincipalComponents, Bands, Score, Identity), strict=True)
)


def compressor(name: str, **options: Any) -> Compressor:
    """A fresh compressor by name.

    Parameters
    ----------
    name : {"autoencoder", "pca", "bands", "score", "none"}
    **options
        The compressor's own: ``latent``, ``hidden``, ``steps`` (autoencoder), ``variance`` (pca), ``bands`` (bands),
        ``fiducials`` (score).

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in _MADE_BY:
        raise ValueError(f"Unknown compressor {name!r}: type one of {', '.join(COMPRESSORS)}.")
    return _MADE_BY[name](**options)
