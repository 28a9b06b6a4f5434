"""Amounts and resources: what people write, in plain units."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.accelerators import A100, A100_80GB, T4, GPUAccelerator
from greenroom.containers import split_resources
from greenroom.definition_errors import BadAmount, BadArgument
from greenroom.quantities import cores, count, seconds, size
from greenroom.resources import Resources, plain


class TestAmounts:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("300Mi", 300 * 2**20),
            ("8Gi", 8 * 2**30),
            ("1G", 10**9),
            ("1.5Gi", 3 * 2**29),
            ("1e3", 1000),
            ("128974848", 128974848),
            (" 2 Ki ", 2048),
            (4096, 4096),
            (1e6, 10**6),
            ("0", 0),
            ("1000m", 1),
        ],
    )
    def test_sizes_are_those_of_kubernetes(self, text, number):
        """
        Sizes take the suffixes that Kubernetes takes.
        """
        assert number == size(text, "mem")

    @pytest.mark.parametrize("text", ["", "Gi", "8 bananas", "-1", "8GB", "8gi", True, None, [], "1e400", float("nan")])
    def test_other_sizes_are_refused(self, text):
        """
        What is no size is refused with what was written and what would do.
        """
        with pytest.raises(BadAmount, match="8Gi") as caught:
            size(text, "mem")

        assert f"got {text!r}" in str(caught.value)

    @pytest.mark.parametrize(("text", "number"), [("2", 2), ("500m", 0.5), (0.25, 0.25), ("1500m", 1.5), (4, 4)])
    def test_cores_may_be_thousandths(self, text, number):
        """
        `500m` is half a core.
        """
        assert number == cores(text, "cpu")

    def test_counts_are_whole(self):
        """
        There are no halves of GPUs.
        """
        assert count("2", "gpu") == 2

        with pytest.raises(BadAmount):
            count("1.5", "gpu")

    @given(st.integers(0, 2**50))
    def test_a_plain_number_means_itself(self, number):
        """
        Digits and the number that they write are one size.
        """
        assert number == size(number, "mem") == size(str(number), "mem")

    def test_times_are_seconds_or_timedeltas(self):
        """
        Both ways of writing a time are taken.
        """
        assert 90.0 == seconds(90, "ttl") == seconds(timedelta(minutes=1.5), "ttl")


class TestResources:
    def test_refuse_what_is_no_amount(self):
        """
        The error names the resource, and what was written.
        """
        with pytest.raises(BadAmount, match=r"Resources\(mem=\) takes a size .* got 'much'"):
            Resources(mem="much")

    def test_a_pair_is_request_and_limit(self):
        """
        `resources=` may hold both in one.
        """
        requests, limits = split_resources("t", None, None, Resources(cpu=("1", "2"), mem="1Gi"))

        assert (Resources(cpu="1", mem="1Gi"), Resources(cpu="2")) == (requests, limits)

    def test_a_request_above_its_limit_is_refused(self):
        """
        A pair is in order.
        """
        with pytest.raises(BadAmount, match="no larger than its limit"):
            Resources(cpu=("2", "1"))

    def test_resources_stand_beside_nothing_else(self):
        """
        Either `resources`, or `requests` and `limits`.
        """
        with pytest.raises(BadArgument, match="resources"):
            split_resources("t", Resources(cpu=1), None, Resources(cpu=1))

    def test_no_wish_is_none(self):
        """
        What is not asked for stays unsaid: the ledger counts it as nothing.
        """
        assert (plain(None).cpu, plain(None).memory, plain(None).gpu, plain(None).disk) == (None, None, None, None)

    def test_an_accelerator_asks_for_one_gpu(self):
        """
        A kind of GPU without a number is one GPU.
        """
        assert (plain(None, T4).gpu, plain(None, T4).accelerator) == (1, "nvidia-tesla-t4")
        assert plain(Resources(gpu=2), T4).gpu == 2


class TestAccelerators:
    def test_slices_have_names(self):
        """
        `A100.partition_1g_5gb` is what `partitioned("1g.5gb")` gives.
        """
        assert A100.partitioned("1g.5gb") == A100.partition_1g_5gb
        assert str(A100.partition_1g_5gb) == "nvidia-tesla-a100/1g.5gb"
        assert A100 != A100.unpartitioned != A100_80GB

    def test_any_device_can_be_named(self):
        """
        The list of devices is not closed.
        """
        assert str(GPUAccelerator("my-gpu")) == "my-gpu"
