"""Losses of the similarities between all embeddings of a batch."""

from __future__ import annotations

from fastloss.checks import number
from fastloss.loss import Loss, register
from fastloss.losses.describe import CALL
from fastloss.spec import Option, SimilaritySpec

__all__ = ["ntxent"]

ntxent = register(
    Loss(
        SimilaritySpec("ntxent", (Option("temperature", 0.07, number(above=0.0)),)),
        rf"""
        NT-Xent: each embedding is to be more similar to those of its label than to all others.

        .. math:: \ell_i = - \frac 1 {{|P_i|}} \sum_{{j \in P_i}} \log
           \frac{{e^{{s_{{ij}} / T}}}}{{e^{{s_{{ij}} / T}} + \sum_{{k \in Q_i}} e^{{s_{{ik}} / T}}}}

        s is the cosine similarity, T the temperature, P the other examples with the label of
        example i, its positives, and Q those with another label. Gradient and hessian have
        what each embedding does to its own loss and to that of all others.

        Parameters
        ----------
        predictions : array of shape (N, D)
            Embeddings, of dtype float64, float32, float16 or bfloat16; their lengths do not matter.
        targets : array of shape (N,), any integer dtype
            Labels.
        temperature : float > 0, default 0.07
            How much more the most similar of the others count; the loss is of similarities by it.
        {CALL}

        Raises
        ------
        TypeError, ValueError
            For dtypes, shapes and options that do not fit.

        Notes
        -----
        Source: T. Chen et al., A Simple Framework for Contrastive Learning of Visual
        Representations (2020), where each example has one positive; as optax's ``ntxent``, which
        averages over all pairs of positives, and so differs where examples have different numbers
        of them. An example without a positive has a loss of 0, and a mean does not count it; with a
        weight of 0 it is still one of the others. A vector of zeros is taken as similar to none
        (similarity 0), and its own derivatives as 0. As all examples see each other, a nan
        makes the losses of all nan.

        The hessian is that of the batch's sum or mean by one entry of an embedding, the curvature
        of the similarities included, so it may be negative. On the CPU it is computed in float64.

        The matrix of similarities is made a block of rows at a time: the memory it takes does not
        grow with the square of N. On the CPU it is NumPy's matrix product, and results are as
        reproducible as that is; on CUDA a kernel's, that adds in an order which never changes.

        Examples
        --------
        >>> import numpy as np
        >>> import fastloss as fl
        >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
        >>> loss, grad = fl.ntxent.value_and_grad(
        ...     embeddings, np.array([0, 0, 1, 1]), temperature=1.0
        ... )
        >>> round(float(loss), 6), grad[3].round(6).tolist()
        (0.551445, [0.105971, 0.0])
        """,
    )
)
