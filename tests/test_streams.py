"""Random streams: seeds fixed for ever, on which every recorded result hangs, and draws that no company changes."""

import weakref
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.streams import DRAWN, SeedGenerators, Stream, TrialRandom, stream_seed
from tests.helpers import SAMPLED_SHARE, SAMPLED_STD

GOLDEN = {
    (0, "weights", 0): 1517602991915695319,
    (0, "weights", 1): 8835416192818654924,
    (0, "batches", 1): 959977767494998842,
    (0, "dropout", 1): 7622492643800939495,
    (5, "weights", 0): 9134206400932947277,
    (123456789, "batches", 42): 1572318441544928609,
}


@pytest.mark.parametrize(("seed", "stream", "index"), GOLDEN)
def test_seeds_are_what_they_always_were(seed: int, stream: Stream, index: int) -> None:
    assert stream_seed(seed, stream, index) == GOLDEN[seed, stream, index]


def test_draws_are_what_they_always_were() -> None:
    generator = torch.Generator().manual_seed(stream_seed(0, "batches", 1))
    # The order of ten images in the first epoch of seed 0.
    assert torch.randperm(10, generator=generator).tolist() == [1, 8, 7, 4, 5, 9, 3, 2, 6, 0]


def test_no_two_streams_share_a_seed() -> None:
    # Written without separators, seed 1 with index 11 and seed 11 with index 1 would be one.
    found = [stream_seed(*each) for each in product(range(30), get_args(Stream), range(120))]
    assert len(set(found)) == len(found) == 30 * len(get_args(Stream)) * 120


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("stream", get_args(Stream))
def test_seeds_fit_the_generator_and_63_bits(seed: int, stream: Stream) -> None:
    found = stream_seed(seed, stream, 3)
    assert 0 <= found < 2**63
    assert torch.Generator().manual_seed(found).initial_seed() == found


def test_all_63_bits_are_used() -> None:
    found = [stream_seed(seed, "weights", 0) for seed in range(200)]
    assert all(0 < sum(seed >> bit & 1 for seed in found) < 200 for bit in range(63))


# Draws

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
