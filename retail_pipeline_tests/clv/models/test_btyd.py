"""Pareto/NBD and Gamma-Gamma: published numbers, the textbook form, recovery, extremes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, hyp2f1

from retail_pipeline.clv.models.bg_nbd import BGNBD
from retail_pipeline.clv.models.btyd import ParetoNBDGammaGamma, history_of
from retail_pipeline.clv.models.gamma_gamma import GammaGamma
from retail_pipeline.clv.models.pareto_nbd import ParetoNBD
from retail_pipeline.clv.models.purchases import FitError, Purchases

CDNOW = ParetoNBD(r=0.5534, alpha=10.5802, s=0.6061, beta=11.6562)
"""Estimates for the CDNOW sample in weeks, as the vignette of the R package BTYD prints them."""


def history(*rows: tuple[float, float, float]) -> Purchases:
    return Purchases(*(np.array(column, float) for column in zip(*rows, strict=True)))


def simulated(model: ParetoNBD, customers: int, seed: int) -> Purchases:
    random = np.random.default_rng(seed)
    age = random.integers(60, 700, customers).astype(float)
    rate = random.gamma(model.r, 1 / model.alpha, customers)
    life = np.minimum(random.exponential(1 / random.gamma(model.s, 1 / model.beta, customers)), age)
    repeats = random.poisson(rate * life)
    last = np.where(repeats > 0, life * random.random(customers) ** (1 / np.maximum(repeats, 1)), 0)
    return Purchases(repeats.astype(float), np.floor(last), age)


def test_the_published_cdnow_numbers_come_out() -> None:
    customer_1516 = history((26, 30.86, 31))
    assert CDNOW.expected_purchases(customer_1516, 52)[0] == pytest.approx(25.456, abs=0.005)
    assert CDNOW.probability_alive(customer_1516)[0] == pytest.approx(0.9979, abs=0.0001)
    new = history((0, 0, 0))
    assert CDNOW.expected_purchases(new, 52)[0] == pytest.approx(1.473, abs=0.001)


@pytest.mark.parametrize("parameters", [(0.55, 60, 0.6, 80), (1, 5, 0.1, 300), (0.5, 50, 2, 0.5)])
def test_the_likelihood_is_that_of_the_textbook(parameters: tuple[float, ...]) -> None:
    model = ParetoNBD(*parameters)
    data = simulated(ParetoNBD(0.8, 40, 0.6, 80), 200, seed=1)
    assert model.log_likelihood(data) == pytest.approx(_textbook(model, data), abs=1e-9)


def _textbook(model: ParetoNBD, data: Purchases) -> np.ndarray:
    r, alpha, s, beta, x = model.r, model.alpha, model.s, model.beta, data.repeats
    total = r + s + x

    def a0(t: np.ndarray) -> np.ndarray:
        if alpha >= beta:
            return hyp2f1(total, s + 1, total + 1, (alpha - beta) / (alpha + t)) / (
                (alpha + t) ** total
            )
        return hyp2f1(total, r + x, total + 1, (beta - alpha) / (beta + t)) / (beta + t) ** total

    alive = 1 / ((alpha + data.age) ** (r + x) * (beta + data.age) ** s)
    dropped = s / total * (a0(data.last) - a0(data.age))
    constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    return constant + np.log(alive + dropped)


def test_the_parameters_of_a_simulated_process_are_recovered() -> None:
    truth = ParetoNBD(r=0.8, alpha=50, s=0.7, beta=120)
    data = simulated(truth, 12_000, seed=5)
    found = ParetoNBD.fit(data)
    assert (found.r, found.alpha) == pytest.approx((truth.r, truth.alpha), rel=0.1)
    assert (found.s, found.beta) == pytest.approx((truth.s, truth.beta), rel=0.25)
    assert found.expected_purchases(data, 180).sum() == pytest.approx(
        truth.expected_purchases(data, 180).sum(), rel=0.03
    )


def test_order_values_are_recovered_and_shrunk() -> None:
    random = np.random.default_rng(6)
    truth = GammaGamma(p=4, q=3, gamma=60)
    counts = random.integers(1, 9, 20_000).astype(float)
    nu = random.gamma(truth.q, 1 / truth.gamma, len(counts))
    means = random.gamma(truth.p * counts) / nu / counts
    found = GammaGamma.fit(counts, means)
    assert (found.p, found.q, found.gamma) == pytest.approx((4, 3, 60), rel=0.1)
    population = found.p * found.gamma / (found.q - 1)
    one, many = found.expected_value(np.array([1.0, 50.0]), np.array([500.0, 500.0]))
    assert population < one < many < 500


@given(st.floats(2, 12), st.floats(2.5, 6), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_single_purchases_recover_the_spread_within_customers(
    p: float, q: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(2, 20, 3_000)
    rate = random.gamma(q, 1 / 100, len(counts))
    purchases = random.gamma(p, 1 / np.repeat(rate, counts))
    starts = np.cumsum(counts) - counts
    means = np.add.reduceat(purchases, starts) / counts
    logs = np.add.reduceat(np.log(purchases), starts)
    found = GammaGamma.fit(counts.astype(float), means, logs)
    assert (found.p, found.q) == pytest.approx((p, q), rel=0.15)


def test_the_shape_of_totals_is_that_of_draws() -> None:
    random = np.random.default_rng(3)
    model, count = GammaGamma(p=4, q=3, gamma=60), 6.0
    number = 1 + random.poisson(2.5, 400_000)
    rate = random.gamma(model.q + model.p * count, 1 / (model.gamma + count * 40), len(number))
    totals = random.gamma(model.p * number) / rate
    found = model.shape_of_totals(
        np.array([count]), np.array([number.mean()]), np.array([(number**2.0).mean()])
    )
    assert found[0] == pytest.approx(totals.mean() ** 2 / totals.var(), rel=0.02)


def test_a_frequent_customer_is_valued_at_the_own_mean() -> None:
    """Counts and means alone do not determine p here and value all customers at the average."""
    random = np.random.default_rng(7)
    counts, own = random.integers(12, 30, 80), random.uniform(400, 3_000, 80)
    purchases = random.gamma(8, np.repeat(own, counts) / 8)
    starts = np.cumsum(counts) - counts
    means = np.add.reduceat(purchases, starts) / counts
    found = GammaGamma.fit(counts.astype(float), means, np.add.reduceat(np.log(purchases), starts))
    assert found.p == pytest.approx(8, rel=0.15)
    assert np.polyfit(means, found.expected_value(counts, means), 1)[0] > 0.9


def posterior_purchases(model: ParetoNBD | BGNBD, data: Purchases, days: float) -> np.ndarray:
    """Return 40,000 simulated futures per customer, drawn from the model's assumptions."""
    random, size = np.random.default_rng(1), (len(data), 40_000)
    alive = random.random(size) < model.probability_alive(data)[:, None]
    rate = random.gamma((model.r + data.repeats)[:, None], size=size)
    rate /= (model.alpha + data.age)[:, None]
    if isinstance(model, ParetoNBD):
        dropout = random.gamma(model.s, size=size) / (model.beta + data.age)[:, None]
        left = random.exponential(size=size) / np.maximum(dropout, 1e-300)
        return random.poisson(np.where(alive, rate * np.minimum(left, days), 0.0))
    dropout = random.beta(model.a, (model.b + data.repeats)[:, None], size=size)
    until_dropout = random.geometric(np.clip(dropout, 1e-12, 1.0))
    return np.where(alive, np.minimum(random.poisson(rate * days), until_dropout), 0)


def test_closed_forms_agree_with_draws_from_the_posterior() -> None:
    model = ParetoNBD(r=0.8, alpha=50, s=0.7, beta=120)
    data = history((0, 0, 30), (0, 0, 600), (8, 300, 320), (8, 100, 200), (60, 399, 400))
    draws = posterior_purchases(model, data, 180)
    square = model.probability_alive(data) * model.square_if_alive(data, 180)
    assert (draws**2.0).mean(axis=1) == pytest.approx(square, rel=0.06)
    assert draws.mean(axis=1) == pytest.approx(model.expected_purchases(data, 180), rel=0.04)
    assert (draws > 0).mean(axis=1) == pytest.approx(
        model.probability_of_purchase(data, 180), abs=0.012
    )


def test_the_next_order_is_where_half_of_the_futures_have_one() -> None:
    model = ParetoNBDGammaGamma(180)
    model.purchases_, model.values_ = (
        ParetoNBD(r=0.8, alpha=50, s=0.7, beta=120),
        GammaGamma(4, 3, 60),
    )
    frame = pd.DataFrame(
        {
            "age_days": [320.0, 400, 600],
            "recency_days": [20.0, 1, 600],
            "purchase_days": [9.0, 61, 1],
        }
    )
    found, data = model.rhythm(frame), history_of(frame)
    for row, days in found["next_order_days"].dropna().items():
        draws = posterior_purchases(model.purchases_, data, days)[row]
        assert (draws > 0).mean() == pytest.approx(0.5, abs=0.02)
    assert found["next_order_days"].isna().tolist() == [False, False, True]
    assert found["usual_gap_days"].isna().tolist() == [False, False, True]
    assert found["usual_gap_days"].iloc[0] == pytest.approx(300 / 8, rel=0.35)


def test_extremes_stay_finite() -> None:
    data = history((0, 0, 1), (5_000, 1_000, 1_000), (5_000, 1, 3_000), (300, 0, 900), (1, 1, 1))
    for model in (CDNOW, ParetoNBD(1e-3, 1e-3, 1e-4, 1e-3), ParetoNBD(900, 1e6, 100, 1e6)):
        found = (
            model.log_likelihood(data),
            model.expected_purchases(data, 1095),
            model.probability_of_purchase(data, 1),
        )
        assert all(np.isfinite(values).all() for values in found)
        assert (model.probability_alive(data) <= 1).all()
    assert np.isfinite(list(vars(ParetoNBD.fit(data)).values())).all()
    assert np.isfinite(list(vars(GammaGamma.fit(np.full(4, 9.0), np.full(4, 20.0))).values())).all()


def test_the_expectation_passes_smoothly_through_s_equal_to_one() -> None:
    data = history((3, 100, 200))
    below, at, above = (
        ParetoNBD(1, 50, s, 100).expected_purchases(data, 90)[0] for s in (1 - 1e-7, 1, 1 + 1e-7)
    )
    assert at == pytest.approx((below + above) / 2, rel=1e-6)


def test_nobody_coming_back_cannot_be_fitted() -> None:
    with pytest.raises(FitError, match="two days"):
        ParetoNBD.fit(history((0, 0, 10), (0, 0, 200)))


def cdnow() -> Purchases:
    """Return the CDNOW sample (in weeks) that the package lifetimes contains."""
    lifetimes = pytest.importorskip("lifetimes", reason="lifetimes is not installed")
    path = Path(lifetimes.__file__).parent / "datasets" / "cdnow_customers_summary.csv"
    table = pd.read_csv(path)
    return Purchases(*(table[name].to_numpy(float) for name in ("frequency", "recency", "T")))


def test_the_published_cdnow_parameters_are_found() -> None:
    data = cdnow()
    pareto, bg = ParetoNBD.fit(data), BGNBD.fit(data)
    assert tuple(vars(pareto).values()) == pytest.approx((0.5533, 10.578, 0.6061, 11.669), rel=2e-3)
    assert tuple(vars(bg).values()) == pytest.approx((0.2426, 4.414, 0.7929, 2.426), rel=2e-3)


def test_bg_nbd_agrees_with_lifetimes() -> None:
    data = cdnow()
    theirs = pytest.importorskip("lifetimes").BetaGeoFitter()
    theirs.fit(data.repeats, data.last, data.age)
    ours = BGNBD.fit(data)
    at_theirs = BGNBD(**theirs.params_.to_dict()).log_likelihood(data).mean()
    assert ours.log_likelihood(data).mean() == pytest.approx(at_theirs, abs=1e-4)
    expected = theirs.conditional_expected_number_of_purchases_up_to_time(
        39, data.repeats, data.last, data.age
    )
    assert ours.expected_purchases(data, 39) == pytest.approx(expected, rel=5e-3, abs=2e-3)
    alive = theirs.conditional_probability_alive(data.repeats, data.last, data.age)
    assert ours.probability_alive(data) == pytest.approx(alive, abs=2e-3)


def test_bg_nbd_closed_forms_agree_with_draws() -> None:
    data = history((0, 0, 30), (0, 0, 600), (8, 300, 320), (8, 100, 200), (60, 399, 400))
    for a in (0.4, 1.0, 1.7):
        model = BGNBD(r=0.8, alpha=50, a=a, b=3)
        draws = posterior_purchases(model, data, 180)
        assert draws.mean(axis=1) == pytest.approx(model.expected_purchases(data, 180), rel=0.04)
        assert (draws > 0).mean(axis=1) == pytest.approx(
            model.probability_of_purchase(data, 180), abs=0.012
        )


def test_parameters_are_recovered_within_three_standard_errors() -> None:
    truth = ParetoNBD(r=0.8, alpha=50, s=0.7, beta=120)
    for seed in (11, 12, 13):
        data = simulated(truth, 8_000, seed)
        found = np.log(list(vars(ParetoNBD.fit(data)).values()))
        errors = np.sqrt(np.diag(np.linalg.inv(_information(found, data))))
        assert np.all(np.abs(found - np.log(list(vars(truth).values()))) <= 3 * errors)


def _information(logs: np.ndarray, data: Purchases) -> np.ndarray:
    """Return the outer products of the scores in the logs of parameters, by differences."""
    step = 1e-4
    scores = [
        (
            ParetoNBD(*np.exp(logs + step * unit)).log_likelihood(data)
            - ParetoNBD(*np.exp(logs - step * unit)).log_likelihood(data)
        )
        / (2 * step)
        for unit in np.eye(len(logs))
    ]
    return np.array(scores) @ np.array(scores).T
