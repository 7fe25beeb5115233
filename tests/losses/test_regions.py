"""Losses over regions: which axes, in which layouts, at which edges, with how many digits."""

import itertools

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl
from tests.helpers import FLOAT16, FLOAT32, FLOAT64, Unchanged, assert_same_bits, each
from tests.regions import NAMES, REGION_LAYOUTS, SHAPE, check, cropped, draw

# --- axes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes", [axes for n in (1, 2, 3, 4) for axes in itertools.permutations(range(4), n)], ids=str
)
def test_every_tuple_of_axes(axes):
    p, t = draw()
    by_end = tuple(axis - 4 for axis in axes)
    loss, grad = check("dice", p, t, axes, reduction="none")
    again, grad_again = check("dice", p, t, by_end, reduction="none")
    assert_same_bits(again, loss)
    assert_same_bits(grad_again, grad)


@each("name", NAMES)
def test_height_and_width_by_default(name):
    p, t = draw()
    loss = getattr(fl, name)
    rows, grad = loss.value_and_grad(p, t, reduction="none")
    assert rows.shape == (2, 3) and grad.shape == SHAPE
    assert_same_bits(loss(p, t, axis=(3, 2), reduction="none"), rows)
    volumes = loss(p, t, axis=(-3, -2, -1), reduction="none")
    np.testing.assert_allclose(
        volumes, loss(p.reshape(2, 1, 3, 20), t.reshape(2, 1, 3, 20), reduction="none")[:, 0]
    )


@each("name", NAMES)
def test_weights_and_upstream_are_those_of_regions(name):
    p, t = draw()
    weight, upstream = np.array([[0.0, 1.0, 2.0]]), np.linspace(-1, 1, 6).reshape(2, 3)
    axes = (2, 3)
    check(name, p, t, axes, sample_weight=weight)
    check(name, p, t, axes, sample_weight=weight, grad_output=upstream, reduction="none")
    check(name, p, t, axes, sample_weight=np.full((2, 1), 0.5), reduction="sum")


@pytest.mark.parametrize(
    "axis, error, words",
    [
        ((), ValueError, "at least one axis"),
        ((2, 2), ValueError, r"\(2, 2\) names an axis .* twice"),
        ((1, -3), ValueError, r"\(1, -3\) names an axis .* twice"),
        ((4, 1), ValueError, r"axis 4 of axis=\(4, 1\) is out of range .* \(2, 3, 4, 5\)"),
        ((0, -5), ValueError, r"axis -5 .* out of range"),
        (4, ValueError, "axis 4 is out of range"),
        ((1.0, 2), TypeError, "axis must be an integer, not 1.0"),
        ((True, 2), TypeError, "axis must be an integer, not True"),
        ("last", TypeError, "an integer or a tuple of integers, not 'last'"),
        (None, TypeError, "an integer or a tuple of integers, not None"),
        ([2, 3], TypeError, "axis"),
    ],
)
@each("want", ["value_and_grad", "grad_and_hess"])
def test_axes_that_are_none(axis, error, words, want):
    p, t = draw()
    fl.dice.value_and_grad(p, t, axis=(1, 2))  # a plan that (1.0, 2) must not find
    with Unchanged(p, t), pytest.raises(error, match=words):
        getattr(fl.dice, want)(p, t, axis=axis, out=p)


def test_too_few_axes():
    """A row of numbers has no height."""
    with pytest.raises(ValueError, match=r"axis -2 of axis=\(-2, -1\) is out of range .* \(5,\)"):
        fl.dice(np.full(5, 0.5), np.ones(5))
    with pytest.raises(ValueError, match="no axis at all"):
        fl.dice(np.array(0.5), np.array(1.0))
    with pytest.raises(ValueError, match="no classes on axis"):
        fl.dice(np.zeros((2, 0, 3)), np.zeros((2, 0, 3)))


@each("name", ["cross_entropy", "nll", "kl_divergence", "multilabel_soft_margin"])
def test_losses_over_classes_take_one_axis(name):
    with pytest.raises(TypeError, match=r"axis must be an integer, not \(-2, -1\)"):
        getattr(fl, name)(*draw(), axis=(-2, -1))


# --- layouts ----------------------------------------------------------------------------


@pytest.mark.parametrize("of_targets", REGION_LAYOUTS)
@pytest.mark.parametrize("of_predictions", REGION_LAYOUTS)
def test_layouts_of_predictions_and_targets(of_predictions, of_targets):
    """Each lies in its own way, and so does `out`; all walk a region alike."""
    p, t = draw(dtype=FLOAT32)
    p, t = REGION_LAYOUTS[of_predictions](p), REGION_LAYOUTS[of_targets](t)
    check("tversky", p, t, (2, 3), reduction="none", alpha=0.75)
    out = REGION_LAYOUTS[of_targets](np.zeros_like(t))
    _, grad = check("tversky", p, t, (2, 3), alpha=0.75, out=out)
    assert grad is out
    _, grad = check("tversky", p.copy("K") if of_predictions != "cropped" else p, t, (2, 3),
                    alpha=0.75)  # fmt: skip
    assert grad.shape == SHAPE


@each("layout", REGION_LAYOUTS)
@each("axes", [(1, 2), (0, 2), (1, 2, 3)])
def test_axes_in_every_layout(axes, layout):
    p, t = draw(dtype=FLOAT16)
    check("jaccard", REGION_LAYOUTS[layout](p), t, axes)
    check("jaccard", p, REGION_LAYOUTS[layout](t), axes)


@each("layout", REGION_LAYOUTS)
def test_in_place_and_hessian(layout):
    p, t = draw()
    grad, hess = fl.dice.grad_and_hess(p, t)
    place = REGION_LAYOUTS[layout](p)
    got, got_hess = fl.dice.grad_and_hess(place, t, out=place)
    assert got is place
    np.testing.assert_allclose(got, grad, rtol=1e-13)
    np.testing.assert_allclose(got_hess, hess, rtol=1e-13)


def test_the_rest_of_a_cropped_array_is_not_touched():
    p, t = draw()
    place = cropped(p)
    fl.dice.grad(place, t, out=place)
    around = np.ones(place.base.shape, bool)
    around[..., 2:-2, 2:-2] = False
    assert np.isnan(place.base[around]).all()


# --- edges ------------------------------------------------------------------------------


def region(name, p, t, **options):
    p, t = np.array([p], np.float64), np.array([t], np.float64)
    loss, grad = getattr(fl, name).value_and_grad(p, t, axis=-1, **options)
    _, hess = getattr(fl, name).grad_and_hess(p, t, axis=-1, **options)
    return float(loss), grad[0], hess[0]


@each("smooth", [0.0, 1e-5, 1.0])
@each("name", NAMES)
def test_nothing_expected_and_nothing_predicted(name, smooth):
    """A match; without smoothing 0 / 0 counts as one, with gradient and hessian 0."""
    loss, grad, hess = region(name, [0, 0, 0], [0, 0, 0], smooth=smooth)
    assert loss == 0.0
    if smooth == 0.0:
        assert not grad.any() and not hess.any()
    else:  # what is predicted next is wrong
        factor = {"dice": 1.0, "jaccard": 1.0, "tversky": 0.5}[name]
        np.testing.assert_allclose(grad, factor / smooth, rtol=1e-14)


@each("name", NAMES)
def test_something_predicted_for_an_empty_target(name):
    loss, grad, hess = region(name, [0.5, 0, 0.25], [0, 0, 0], smooth=0.0)
    assert loss == 1.0 and not grad.any() and not hess.any()
    loss, grad, _ = region(name, [0.5, 0, 0.25], [0, 0, 0])
    assert 0.9999 < loss < 1 and (grad > 0).all()


@each("name", NAMES)
def test_nothing_predicted_for_a_target(name):
    loss, grad, _ = region(name, [0, 0, 0], [1, 0, 1], smooth=0.0)
    assert loss == 1.0 and grad[1] == 0.0
    slope = {"dice": -1.0, "jaccard": -0.5, "tversky": -1.0}[name]
    np.testing.assert_allclose(grad[[0, 2]], slope, rtol=1e-15)


@each("smooth", [0.0, 1e-5])
@each("name", NAMES)
def test_full_match(name, smooth):
    loss, grad, _ = region(name, [1, 1, 1], [1, 1, 1], smooth=smooth)
    assert loss == 0.0 and (grad < 0).all()


@each("name", NAMES)
def test_a_nan_breaks_its_region_alone(name):
    p, t = draw()
    good, good_grad = getattr(fl, name).value_and_grad(p, t, reduction="none")
    p[1, 2, 3, 4] = np.nan
    loss, grad = getattr(fl, name).value_and_grad(p, t, reduction="none")
    broken = np.zeros((2, 3), bool)
    broken[1, 2] = True
    assert np.isnan(loss[broken]).all() and np.isnan(grad[broken]).all()
    np.testing.assert_array_equal(loss[~broken], good[~broken])
    np.testing.assert_array_equal(grad[~broken], good_grad[~broken])


@pytest.mark.parametrize("z", [100.0, 1000.0, np.inf])
@each("name", NAMES)
def test_logits_of_any_size(name, z):
    for logits in ([z, -z], [-z, z]):
        loss, grad, hess = region(name, logits, [1, 0], from_logits=True)
        assert np.isfinite([loss, *grad, *hess]).all()
        assert abs(loss - (logits[0] < 0)) < 1e-4


# --- digits -----------------------------------------------------------------------------


@each("dtype", [FLOAT32, FLOAT64])
@each("name", NAMES)
def test_a_near_match_keeps_its_digits(name, dtype):
    """One minus the overlap would have none left."""
    t = np.tile([1.0, 0.0], 50).astype(dtype)[None]
    distance = np.geomspace(1e-12, 1e-9, 100)[None] if dtype == FLOAT64 else 2.0**-23
    p = np.where(t == 1, 1 - distance, distance).astype(dtype)
    with mp.workdps(50):
        exact = [mp.mpf(float(v)) for v in p[0]]
        expected = [mp.mpf(float(v)) for v in t[0]]
        both = mp.fsum(a * b for a, b in zip(exact, expected, strict=True))
        sizes = mp.fsum(exact) + mp.fsum(expected)
        smooth = mp.mpf("1e-5")
        wide = {
            "dice": 1 - (2 * both + smooth) / (sizes + smooth),
            "tversky": 1 - (both + smooth) / (sizes / 2 + smooth),
            "jaccard": 1 - (both + smooth) / (sizes - both + smooth),
        }[name]
    loss = getattr(fl, name)(p, t, axis=-1)
    # The roundings of sums of 100 terms, two more sums and a quotient.
    np.testing.assert_allclose(float(loss), float(wide), rtol=4 * np.finfo(dtype).eps)


@each("name", NAMES)
def test_a_long_region(name):
    """A million elements in float32, in one piece and cropped, against float64."""
    p, t = draw((1000, 1000), FLOAT32)
    for lay in (np.ascontiguousarray, cropped):
        check(name, lay(p), lay(t), (0, 1), ulps=16)


LONG_ROWS = [
    "multiclass_hinge-hard-plain",
    "sparsemax-soft-plain",
    "focal_cross_entropy-hard-plain",
]


@each("place", [0, 2047, 2048, 4999])
@each("name", LONG_ROWS)
def test_reductions_of_rows_of_several_blocks(name, place):
    """The largest entry, and the first of several, wherever among the blocks they are."""
    from tests.catalogue import BY_NAME
    from tests.checks import check as check_case

    case = BY_NAME[name]
    x, t = case.draw((3, 5000), FLOAT64)
    x[:, place] = x[:, 4999] = 9.0
    check_case(case, x, t, reduction="none", ulps=16)


def test_same_bits_for_every_number_of_threads():
    import numba

    p, t = draw((4, 3, 150, 170), FLOAT32)
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        results.append(fl.dice.value_and_grad(cropped(p), t))
        numba.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert_same_bits(a, b)
