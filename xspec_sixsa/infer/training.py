"""The one training loop of every network here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["train"]

CHECKS = 25  # points of the training curve
LARGEST_GRADIENT = 5.0


def train(
    network: nn.Module,
    loss: Callable[[], Tensor],
    validation: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    tick: Callable[[int], None] = lambda n: None,
    checks: int = CHECKS,
) -> dict[str, list[float]]:
    """Minimise a loss by AdamW under the one-cycle schedule, and keep the weights of the best validation loss.

    Parameters
    ----------
    network : nn.Module
        Trained in place.
    loss : callable
        The loss of one fresh batch (a scalar).
    validation : callable
        The loss on held-out data (a scalar).
    steps : int
    learning_rate : float
        The peak of the cycle.
    tick : callable, optional
        Called with the number of steps just made.
    checks : int, default 25
        Points of the training curve.

    Returns
    -------
    dict
        ``step``, ``train`` (mean since the last point) and ``validation``, lists of equal length.

    Raises
    ------
    FloatingPointError
        When the validation loss was never finite.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps)
    every = max(1, steps // checks)
    curve: dict[str, list[float]] = {"step": [], "train": [], "validation": []}
    best, best_state, running = float("inf"), None, 0.0
    for step in range(1, steps + 1):
        network.train()
        value = loss()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        running += value.item()
        if step % every == 0 or step == steps:
            network.eval()
            with torch.no_grad():
                held_out = validation().item()
            curve["step"].append(step)
            curve["train"].append(running / ((step - 1) % every + 1))
            curve["validation"].append(held_out)
            running = 0.0
            tick(every)
            if held_out < best:
                best, best_state = held_out, {k: v.clone() for k, v in network.state_dict().items()}
    if best_state is None:
        raise FloatingPointError(
            f"Training failed: the validation loss was never finite in {steps} steps (last {held_out}). Look for "
            "NaN or absurdly large values among the simulated spectra."
        )
    network.load_state_dict(best_state)
    network.eval()
    return curve
