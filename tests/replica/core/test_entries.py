"""Which entries a budget keeps."""

from hypothesis import given
from hypothesis import strategies as st

from greenroom_replica.core.entries import Budget, Need


def free(_):
    return True


def held(budget, *entries):
    """A budget with entries of (name, bytes, seconds)."""
    for name, size, seconds in entries:
        budget.add(name, size, 0, seconds, name)
    return budget


def drop(budget, names):
    for name in names:
        budget.remove(name, name)
    return names


class TestRoom:
    def test_what_fits_stays(self):
        """
        Below its limit a budget lacks nothing.
        """
        budget = held(Budget(100), ("a", 60, 1), ("b", 40, 1))

        assert not budget.lacks()
        assert Need(10) == budget.lacks(10)
        assert [] == budget.choose(budget.lacks(), free)

    def test_without_a_limit_nothing_is_lacking(self):
        """
        No limit, no need.
        """
        budget = held(Budget(), ("a", 1 << 60, 1))

        assert not budget.lacks(1 << 60, 1 << 60)
        assert budget.allows(1 << 62, 1 << 62)

    def test_one_that_could_never_fit(self):
        """
        An entry larger than the limit is not allowed, of memory or of GPU memory.
        """
        budget = Budget(100, 10)

        assert budget.allows(100, 10)
        assert not budget.allows(101, 0)
        assert not budget.allows(0, 11)


class TestChoice:
    def test_the_oldest_of_equals_goes(self):
        """
        Among entries of one size and cost the one that was not used for longest goes.
        """
        budget = held(Budget(30), *[(name, 10, 1.0) for name in "abcd"])

        assert ["a"] == budget.choose(budget.lacks(), free)

    def test_a_used_one_stays(self):
        """
        Use makes an entry worth keeping.
        """
        budget = held(Budget(30), *[(name, 10, 1.0) for name in "abcd"])
        budget.touch(["a"])

        assert ["b"] == budget.choose(budget.lacks(), free)

    def test_the_cheap_one_goes(self):
        """
        What is quick to load again goes before what is slow.
        """
        budget = held(Budget(20), ("slow", 10, 60.0), ("quick", 10, 0.1), ("new", 10, 1.0))

        assert ["quick"] == budget.choose(budget.lacks(), free)

    def test_the_large_one_goes(self):
        """
        Of two that cost the same to load, the larger goes.
        """
        budget = held(Budget(120), ("small", 10, 1.0), ("large", 100, 1.0), ("new", 20, 1.0))

        assert ["large"] == budget.choose(budget.lacks(), free)

    def test_as_many_as_needed_go(self):
        """
        Several go where one is not enough, and no more than that.
        """
        budget = held(Budget(40), *[(name, 10, 1.0) for name in "abcd"])

        assert ["a", "b", "c"] == budget.choose(budget.lacks(25), free)

    def test_one_in_use_is_passed_over(self):
        """
        An entry in use stays, and is offered again the next time.
        """
        budget = held(Budget(20), *[(name, 10, 1.0) for name in "abc"])

        first = drop(budget, budget.choose(budget.lacks(), lambda name: name != "a"))
        second = budget.choose(budget.lacks(10), free)

        assert (["b"], ["a"]) == (first, second)

    def test_all_in_use(self):
        """
        Where all are in use, nothing can be chosen.
        """
        budget = held(Budget(10), ("a", 10, 1), ("b", 10, 1))

        assert [] == budget.choose(budget.lacks(), lambda _: False)

    def test_gpu_memory_is_freed_by_what_takes_it(self):
        """
        Only entries on a GPU go for GPU memory, the least worth for its bytes there first.
        """
        budget = Budget(1000, 100)
        budget.add("cpu", 500, 0, 0.001)
        budget.add("small", 10, 20, 1.0)
        budget.add("large", 10, 60, 1.0)
        budget.add("new", 10, 40, 1.0)

        assert ["large"] == budget.choose(budget.lacks(), free)

    def test_an_entry_that_takes_nothing_never_goes_for_room(self):
        """
        Dropping what has no size frees nothing.
        """
        budget = held(Budget(10), ("none", 0, 0.0), ("a", 10, 1.0), ("b", 10, 1.0))

        assert ["a"] == budget.choose(budget.lacks(), free)

    def test_frequent_use_beats_a_passing_crowd(self):
        """
        An entry that is used again and again stays while many others come once.
        """
        budget = Budget(40)
        for one in ("hot", "b", "c", "d"):
            budget.add(one, 10, 0, 1.0, one)
        for number in range(200):
            budget.touch(["hot"])
            name = f"once {number}"
            budget.add(name, 10, 0, 1.0, name)
            drop(budget, budget.choose(budget.lacks(), free))

        assert "hot" in budget

    def test_what_was_hot_gives_way_in_time(self):
        """
        Uses fade: an entry that nobody wants any more goes, however hot it was.
        """
        budget = Budget(40)
        for one in "abcd":
            budget.add(one, 10, 0, 1.0, one)
        budget.touch(["a"] * 50)
        for number in range(300):
            drop(budget, ["b", "c", "d"][number % 3 : number % 3 + 1])
            budget.add("bcd"[number % 3], 10, 0, 1.0, "bcd"[number % 3])

        assert ["a"] == budget.choose(budget.lacks(10), free)

    def test_one_that_keeps_coming_back_is_remembered(self):
        """
        An entry that went and came back is warmer than one that came for the first time.
        """
        budget = Budget(20)
        for name in ("a", "b"):
            budget.add(name, 10, 0, 1.0, name)
        for _ in range(3):
            drop(budget, ["a"])
            budget.add("a", 10, 0, 1.0, "a")
        budget.touch(["b"])

        assert ["b"] == budget.choose(budget.lacks(10), free)


class TestOrder:
    def test_the_most_worth_first(self):
        """
        For reloading after a crash the most valuable come first.
        """
        budget = held(Budget(), ("cheap", 10, 0.1), ("dear", 10, 100.0), ("large", 10_000, 1.0))

        assert ["dear", "cheap", "large"] == budget.ranked()

    @given(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 50), st.integers(0, 20), st.floats(0, 100)),
            max_size=80,
        ),
        st.integers(1, 120),
        st.sets(st.sampled_from("abcdefgh")),
    )
    def test_sums_and_choices_hold_over_any_history(self, history, limit, busy):
        """
        Whatever comes and goes, the sums are those of what is held, enough is chosen, and never what is in use.
        """
        budget = Budget(limit, 40)
        sizes = {}
        for name, size, gpu, seconds in history:
            if name in budget:
                if size % 2:
                    budget.touch([name])
                    continue
                drop(budget, [name])
                del sizes[name]
            budget.add(name, size, gpu, seconds, name)
            sizes[name] = (size, gpu)
            need = budget.lacks()
            chosen = budget.choose(need, lambda one: one not in busy)
            assert len(set(chosen)) == len(chosen)
            assert not busy & set(chosen)
            idle = [one for one in sizes if one not in busy]
            enough = sum(sizes[one][0] for one in chosen) >= need.bytes
            assert enough or set(chosen) >= {one for one in idle if sizes[one][0]}
            gpu_enough = sum(sizes[one][1] for one in chosen) >= need.gpu_bytes
            assert gpu_enough or set(chosen) >= {one for one in idle if sizes[one][1]}
            for one in drop(budget, chosen):
                del sizes[one]
            assert set(budget.ranked()) == set(sizes) and len(budget) == len(sizes)
            assert (budget.used, budget.gpu_used) == tuple(sum(size[k] for size in sizes.values()) for k in (0, 1))

    @given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60))
    def test_the_heap_agrees_with_sorting(self, uses):
        """
        The quick way to the least worth is the plain way.
        """
        budget = Budget(60)
        for name, seconds in zip("abcdef", (1.0, 2.0, 1.5, 0.5, 1.0, 3.0), strict=True):
            budget.add(name, 10, 0, seconds, name)
        budget.touch(uses)

        plain = budget.ranked()[::-1]

        assert plain[:3] == budget.choose(Need(30), free)
