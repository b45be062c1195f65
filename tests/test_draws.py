"""Draws on the device: whose they are, when they repeat, and that nobody's company changes them."""

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.streams import DRAWN, SeedGenerators, Stream, TrialRandom, stream_seed
from tests.helpers import SAMPLED_SHARE, SAMPLED_STD

CPU = torch.device("cpu")


def streams(seeds: list[int], epoch: int = 1) -> SeedGenerators:
    started = SeedGenerators(seeds, CPU)
    started.start_epoch(epoch)
    return started


def draws(seeds: list[int], epoch: int = 1) -> TrialRandom:
    return TrialRandom(streams(seeds, epoch), seeds)


def generator(seed: int, stream: Stream, epoch: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, stream, epoch))


@pytest.mark.parametrize("stream", DRAWN)
@pytest.mark.parametrize("epoch", [1, 7])
def test_draws_are_those_of_the_documented_generator_in_order(stream: Stream, epoch: int) -> None:
    mine, theirs = draws([3, 8], epoch), [generator(seed, stream, epoch) for seed in (3, 8)]
    for _ in range(2):
        expected = torch.stack([torch.rand(6, 5, generator=each) for each in theirs])
        assert torch.equal(mine.uniform(stream, 6, 5), expected)
        expected = torch.stack([torch.randn(4, generator=each) for each in theirs])
        assert torch.equal(mine.normal(stream, 4), expected)


def test_trials_of_a_seed_get_the_same_and_seeds_differ() -> None:
    u_KBC = draws([3, 3, 8, 8]).uniform("dropout", 6, 5)
    assert torch.equal(u_KBC[0], u_KBC[1])
    assert torch.equal(u_KBC[2], u_KBC[3])
    assert not torch.equal(u_KBC[0], u_KBC[2])


def test_repeated_seeds_need_not_stand_side_by_side() -> None:
    u_KB = draws([3, 8, 3]).uniform("dropout", 6)
    assert torch.equal(u_KB[[0, 1]], draws([3, 8]).uniform("dropout", 6))
    assert torch.equal(u_KB[2], u_KB[0])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=50, derandomize=True)
def test_a_seeds_draws_do_not_depend_on_its_company(company: list[int], data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(company))
    together, alone = draws(company), draws([seed])
    for stream in DRAWN:
        assert torch.equal(together.uniform(stream, 6, 5)[company.index(seed)], alone.uniform(stream, 6, 5)[0])


def test_uniforms_lie_in_the_half_open_interval_and_normals_are_standard() -> None:
    u, z = draws([0]).uniform("noise", 200_000), draws([0]).normal("noise", 200_000)
    assert 0 <= float(u.min()) < SAMPLED_SHARE
    assert 1 - SAMPLED_SHARE < float(u.max()) < 1
    assert abs(float(z.std()) - 1) < SAMPLED_STD
    assert abs(float(z.mean())) < SAMPLED_STD


def test_a_step_goes_on_where_the_one_before_stopped() -> None:
    mine, both = streams([0]), torch.rand(2, 6, generator=generator(0, "dropout"))
    trials = TrialRandom(mine, [0])
    for step in range(2):
        mine.start_step()
        trials.start_pass()
        assert torch.equal(trials.uniform("dropout", 6)[0], both[step])


def test_every_pass_of_a_step_gets_the_same_draws() -> None:
    mine = streams([0, 4])
    mine.start_step()
    trials = TrialRandom(mine, [0, 4])
    first = [trials.uniform("dropout", 6), trials.normal("noise", 3), trials.uniform("dropout", 2, 2)]
    trials.start_pass()
    # Streams are counted apart: the order between them is free.
    again = [trials.uniform("dropout", 6), trials.uniform("dropout", 2, 2), trials.normal("noise", 3)]
    assert all(torch.equal(first[one], again[other]) for one, other in ((0, 0), (1, 2), (2, 1)))


def test_trials_that_compute_one_after_the_other_get_what_they_would_have_got_together() -> None:
    seeds, cuts = [5, 5, 5, 9], [slice(0, 1), slice(1, 3), slice(3, 4)]
    cut_up, in_one = streams(seeds), streams(seeds)
    shards, whole = [TrialRandom(cut_up, seeds).of(cut) for cut in cuts], TrialRandom(in_one, seeds)
    for _ in range(3):
        for each in (cut_up, in_one):
            each.start_step()
        whole.start_pass()
        expected = [whole.uniform("dropout", 4, 3), whole.uniform("dropout", 2)]
        found = []
        for shard in shards:
            shard.start_pass()
            found.append([shard.uniform("dropout", 4, 3), shard.uniform("dropout", 2)])
        for place in range(2):
            assert torch.equal(torch.cat([each[place] for each in found]), expected[place])


def test_a_pass_frees_what_only_other_seeds_drew() -> None:
    mine = streams([0, 5])
    early, late = (TrialRandom(mine, [seed]) for seed in (0, 5))
    kept = [weakref.ref(mine.draw(seed, "dropout", 0, torch.rand, [6])) for seed in (0, 5)]
    late.start_pass()
    assert [reference() is None for reference in kept] == [True, False]
    early.start_pass()
    assert all(reference() is None for reference in kept)


def test_a_shard_that_starts_late_misses_nothing() -> None:
    mine = streams([0])
    early, late = TrialRandom(mine, [0]), TrialRandom(mine, [0])
    first = early.uniform("dropout", 6)
    second = early.uniform("dropout", 6)
    assert torch.equal(late.uniform("dropout", 6), first)
    assert torch.equal(late.uniform("dropout", 6), second)
    third = late.uniform("dropout", 6)
    assert torch.equal(early.uniform("dropout", 6), third)


def test_an_epoch_begins_anew_and_every_epoch_differs() -> None:
    mine = streams([0])
    trials = TrialRandom(mine, [0])

    def first_of(epoch: int) -> torch.Tensor:
        mine.start_epoch(epoch)
        mine.start_step()
        trials.start_pass()
        return trials.uniform("dropout", 6)

    one, two = first_of(1), first_of(2)
    assert not torch.equal(one, two)
    assert torch.equal(first_of(1), one)


def test_streams_can_begin_apart_each_with_an_index_of_its_own() -> None:
    mine = streams([0, 4], epoch=2)
    trials = TrialRandom(mine, [0, 4])
    before = trials.uniform("augment", 6)
    trials.uniform("dropout", 6)
    mine.start({"dropout": -1, "noise": 7})
    trials.start_pass()
    for stream, index in (("dropout", -1), ("noise", 7)):
        expected = torch.stack([torch.rand(6, generator=generator(seed, stream, index)) for seed in (0, 4)])
        assert torch.equal(trials.uniform(stream, 6), expected)
    # One that is not named goes on.
    both = [torch.rand(2, 6, generator=generator(seed, "augment", 2)) for seed in (0, 4)]
    assert torch.equal(torch.stack([before, trials.uniform("augment", 6)], 1), torch.stack(both))


def test_streams_do_not_disturb_each_other() -> None:
    quiet, busy = draws([0]), draws([0])
    busy.uniform("noise", 1000)
    busy.normal("augment", 7)
    assert torch.equal(quiet.uniform("dropout", 6), busy.uniform("dropout", 6))
    first = {stream: draws([0]).uniform(stream, 6) for stream in DRAWN}
    assert len({tuple(u.flatten().tolist()) for u in first.values()}) == len(DRAWN)


def test_there_is_a_generator_for_every_distinct_seed_and_stream() -> None:
    assert len(SeedGenerators([4, 4, 0], CPU).generators) == 2 * len(DRAWN)
