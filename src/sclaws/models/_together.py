"""Several models of one kind are prepared, those that can be are trained as one batch, and each has its own outcome."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sclaws.models import _training
from sclaws.protocols import Context, Job

Indices = list[int]


def fit_many(
    jobs: Sequence[Job],
    prepare: Callable[[Job], Any],
    groups: Callable[[Mapping[int, Any]], Sequence[Indices]],
    train: Callable[[Sequence[Any], Indices], Sequence[Any]],
    context: Context,
    name: str,
) -> list[Any]:
    """Return a trained model, or the exception that says why not, for each job.

    ``groups`` says which of what was prepared, by the job's position, is trained as one batch; ``train`` does so, given
    what was prepared and the positions. An error of ``train`` is that of all of its models.
    """
    found: list[Any] = [attempt(functools.partial(prepare, job)) for job in jobs]
    with _training.quiet(context, name):
        for some in groups({i: one for i, one in enumerate(found) if not isinstance(one, Exception)}):
            made = attempt(functools.partial(train, [found[i] for i in some], some))
            for place, i in enumerate(some):
                found[i] = made if isinstance(made, Exception) else made[place]
    return found


def attempt(make: Callable[[], Any]) -> Any:
    """Return what is made, or the exception that says why not: one model's trouble is not its neighbours'."""
    try:
        return make()
    except Exception as error:
        return error


def only(found: Sequence[Any]) -> Any:
    """Return the one model that was asked for; raise the exception that stands in its place."""
    (one,) = found
    if isinstance(one, Exception):
        raise one
    return one
