"""A two-sample test by a classifier: how well a linear one tells fresh sounds from real ones (0.5 = it cannot).

Ridge regression on labels -1 and 1, its penalty chosen within the training part by leave-one-out; accuracy on whole
groups that the classifier never saw, each class counting half (Lopez-Paz and Oquab, "Revisiting classifier two-sample
tests", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nebula_tune.arrays import Floats, Vectors

FOLDS = 5
PENALTIES = np.logspace(-4, 2, 13)  # shares of the mean squared length of a centred sound
SMALLEST = 1e-6  # deviation of a dimension, as a share of the largest, below which it is left out


def classifier_test(x: Vectors, y: Vectors, groups_y: Sequence[str], groups_x: Sequence[str] | None = None) -> float:
    """Balanced accuracy in telling sounds x (n, D) from y (m, D), by cross-validation over groups.

    ``groups_y`` names each y's group, ``groups_x`` each x's; without the latter every x is its own group. As many of
    each side are used as the smaller one has.
    """
    random = np.random.default_rng(0)
    keep = min(len(x), len(y))
    first, second = (np.sort(random.permutation(len(part))[:keep]) for part in (x, y))
    data = np.concatenate([x[first], y[second]]).astype(np.float64)
    labels = np.repeat([-1.0, 1.0], keep)
    names = [f"x{i}" if groups_x is None else f"x{groups_x[i]}" for i in first] + [f"y{groups_y[i]}" for i in second]
    owner = np.unique(names, return_inverse=True)[1]
    fold = random.permutation(owner.max() + 1)[owner] % FOLDS
    correct = np.zeros(2 * keep)
    for number in range(FOLDS):
        test = fold == number
        if test.any() and len(np.unique(labels[~test])) == 2:
            correct[test] = np.sign(_predict(data[~test], labels[~test], data[test])) == labels[test]
        else:
            correct[test] = 0.5
    return float((correct[labels < 0].mean() + correct[labels > 0].mean()) / 2)


def _predict(x: Floats, labels: Floats, new: Floats) -> Floats:
    """Ridge regression's values for new sounds; all is standardised by the training part."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    used = deviation > SMALLEST * max(float(deviation.max()), 1e-300)
    if not used.any():
        return np.zeros(len(new))
    x, new = ((part[:, used] - mean[used]) / deviation[used] for part in (x, new))
    centre = labels.mean()
    # All of it in the space of the sounds, of which there are fewer than dimensions.
    values, axes = np.linalg.eigh(x @ x.T)
    values = np.maximum(values, 0)
    along = axes.T @ (labels - centre)
    best, weights = np.inf, np.zeros(len(labels))
    for penalty in PENALTIES * values.mean():
        shrunk = values / (values + penalty)
        fitted = axes @ (shrunk * along)
        leverage = np.square(axes) @ shrunk + 1 / len(labels)
        error = float(np.square((labels - centre - fitted) / np.maximum(1 - leverage, 1e-6)).mean())
        if error < best:
            best, weights = error, axes @ (along / (values + penalty))
    predicted: Floats = (new @ x.T) @ weights + centre
    return predicted
