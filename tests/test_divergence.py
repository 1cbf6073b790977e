from __future__ import annotations

import numpy as np
import pytest

from xspec_sixsa.compare.divergence import jensen_shannon

RNG = np.random.default_rng(4)


def test_equal_samples_do_not_diverge_and_disjoint_ones_do_by_ln_2() -> None:
    x = RNG.normal(size=1000)
    assert jensen_shannon(x, x).value == 0
    assert jensen_shannon(x, x + 100).value == pytest.approx(np.log(2), abs=1e-6)


def test_two_samples_of_one_distribution_are_indistinguishable_but_a_shift_is_not() -> None:
    verdicts = [jensen_shannon(*RNG.normal(size=(2, 1500))).indistinguishable for _ in range(200)]
    # 99.9 % of them should be; more than two failures of 200 has a probability of 0.1 %
    assert sum(verdicts) >= 198
    assert not jensen_shannon(RNG.normal(size=1500), RNG.normal(size=1500) + 0.3).indistinguishable


def test_weights_stand_for_draws() -> None:
    x = RNG.normal(size=20000)
    wide = RNG.normal(size=20000) * 2
    weights = np.exp(-(wide**2) / 2 + wide**2 / 8)
    d = jensen_shannon(x, wide, None, weights)
    assert d.indistinguishable
    assert not jensen_shannon(x, wide).indistinguishable
