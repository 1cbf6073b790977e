"""Retriever: what a spectrum knows of its parameters, against limits that are known for the toy problem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy import HIGH, LOW, expected_counts, noise

from xspec_sixsa.infer.compress import compressor
from xspec_sixsa.products.retriever import Retrieval, fisher_scatter, retrieve, retrieve_for


def simulations(n: int) -> tuple[np.ndarray, torch.Tensor]:
    """The power law in twenty bins, and a third parameter that changes nothing."""
    u = np.random.default_rng(2).random((n, 3))
    return u, torch.tensor(expected_counts(u[:, :2]), dtype=torch.float32)


class FirstBin:
    """A compressor that keeps one number: the counts of the first bin."""

    name, curve = "first", {}

    def fit(self, *_: object) -> None: ...

    def __call__(self, recorded: torch.Tensor) -> torch.Tensor:
        return torch.log1p(recorded[:, :1]).float()


@pytest.fixture(scope="module")
def retrievals() -> dict[str, Retrieval]:
    u, expected = simulations(1500)
    found = {}
    for name, compress in (("pca", compressor("pca")), ("first bin", FirstBin())):
        torch.manual_seed(1)
        compress.fit(expected, noise())
        found[name] = retrieve(u, expected, noise(), compress, ["index", "norm", "nothing"], steps=600)
    return found


def test_the_fisher_limit_of_a_norm_is_its_counts() -> None:
    u, expected = simulations(1000)
    at = np.array([[0.5, 0.8, 0.5]])
    m = expected_counts(at[:, :2])[0]
    # exact derivatives: ln m changes by the range of the logarithmic norm, and by -range x ln(energy) of the index
    from toy import CENTRE

    j = np.stack([-np.log(CENTRE) * (HIGH - LOW)[0], np.full(20, (HIGH - LOW)[1]), np.zeros(20)], axis=1)
    exact = np.sqrt(np.diag(np.linalg.inv((j * m[:, None]).T @ j + 12 * np.eye(3))))
    # the emulator's derivatives are right to some per cent
    np.testing.assert_allclose(fisher_scatter(u, expected, noise(), at), exact, rtol=0.1)


def test_what_nothing_depends_on_is_named(retrievals: dict[str, Retrieval]) -> None:
    found = retrievals["pca"]
    assert found.insensitive == ["nothing"]
    # the prior's own scatter, 0.289, to 300 test spectra's 4 % and the network's fit to noise
    assert found.scatter[2] == pytest.approx(12**-0.5, rel=0.12)
    assert "knows nothing of nothing" in str(found)


def test_a_good_compressor_comes_near_the_limit_and_a_bad_one_does_not(retrievals: dict[str, Retrieval]) -> None:
    good, bad = retrievals["pca"], retrievals["first bin"]
    # a point estimate over the whole prior, faint spectra included, where posteriors are no Gaussians
    assert (good.scatter[:2] < 2 * good.scatter_limit[:2]).all()
    assert (good.scatter[:2] > 0.8 * good.scatter_limit[:2]).all()
    assert bad.information_kept[0] < 0.5 < good.information_kept[0]


def test_the_picture_is_drawn_and_too_few_spectra_refused(retrievals: dict[str, Retrieval], tmp_path: Path) -> None:
    assert retrievals["pca"].plot(tmp_path / "retriever.png").stat().st_size > 10_000
    u, expected = simulations(50)
    with pytest.raises(ValueError, match="50 simulated spectra"):
        retrieve(u, expected, noise(), compressor("pca"), ["a", "b", "c"])


def test_a_session_is_evaluated_over_its_prior_and_every_evaluation_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from small_session import fresh, power_law_run

    from xspec_sixsa import embedded

    monkeypatch.chdir(tmp_path)
    run, priors = power_law_run(embedded, tmp_path, (1e-3, 1e-2))
    # the score's fiducial is the posterior's mean
    run.samples = np.array([1.8, 3e-3]) * (1 + 0.02 * np.random.default_rng(1).standard_normal((50, 2)))
    run.weights = np.full(50, 0.02)
    found, evaluations = retrieve_for(run, "score", n=400, steps=400, priors=priors, xspec=embedded)
    fresh(embedded)
    assert evaluations == 401  # and the probe of the model
    assert found.labels == run.labels
    assert found.insensitive == []
    assert (found.scatter < 0.1).all()  # thousands of counts: index and norm are known to a few per cent of the prior
