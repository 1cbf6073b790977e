"""Products of batches of spectra with a sparse matrix, differentiable any number of times."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_array

__all__ = ["sparse_product"]


def _apply(x: torch.Tensor, matrix: csr_array) -> torch.Tensor:
    flat = x.detach().reshape(-1, x.shape[-1])
    # scipy's row-wise kernel runs over a contiguous batch; one transposed copy each way is cheap beside it, and what
    # follows (logarithms above all) is several times faster on contiguous spectra.
    out = torch.from_numpy(matrix @ flat.numpy().T.copy()).T.contiguous()
    return out.reshape(*x.shape[:-1], matrix.shape[0])


class _SparseProduct(torch.autograd.Function):
    """``x @ matrix.T``; linear, so every derivative is the same product or that with the transposed matrix."""

    @staticmethod
    def forward(x: torch.Tensor, matrix: csr_array, transposed: csr_array) -> torch.Tensor:
        del transposed
        return _apply(x, matrix)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        del output
        _, ctx.matrix, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _SparseProduct.apply(grad, ctx.transposed, ctx.matrix), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, *_: None) -> torch.Tensor:
        return _SparseProduct.apply(tangent, ctx.matrix, ctx.transposed)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: torch.Tensor, matrix: csr_array, transposed: csr_array) -> Any:
        del info
        return _SparseProduct.apply(x.movedim(in_dims[0], 0), matrix, transposed), 0


def sparse_product(x: torch.Tensor, matrix: csr_array, transposed: csr_array) -> torch.Tensor:
    """Multiply the last axis of `x` (..., n) with a sparse ``matrix`` (m, n), giving (..., m).

    Parameters
    ----------
    transposed : csr_array (n, m)
        The transposed matrix, used for gradients.
    """
    return _SparseProduct.apply(x, matrix, transposed)
