"""Histograms of what one thread counts, told as those of prometheus_client and counted in a quarter of their time.

The library's own take two locks for each number, since any thread may count. An engine counts in its event loop alone,
and each call of a handler is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Durations(Collector):
    """How often something took how long, by the values of its labels.

    Args:
        name: of the histogram.
        meaning: a sentence for people.
        bounds: the most that each bucket but the last holds, in ascending order.
        labels: names of the labels.
    """

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str]) -> None:
        self._name = name
        self._meaning = meaning
        self._bounds = bounds
        self._labels = labels
        # For each set of values the number in each bucket, and the sum.
        self._counted: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        """Counts one more.

        Args:
            values: of the labels, in their order.
            seconds: how long it took.
        """
        counted = self._counted.get(values)
        if counted is None:
            counted = self._counted[values] = [0] * (len(self._bounds) + 1), [0.0]
        numbers, total = counted
        numbers[bisect_left(self._bounds, seconds)] += 1
        total[0] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Tells what was counted; each bucket includes those below it."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        # A list: another thread may ask while a new set of values comes in.
        for values, (numbers, total) in list(self._counted.items()):
            family.add_metric(values, list(zip(names, accumulate(numbers), strict=True)), total[0])
        yield family
