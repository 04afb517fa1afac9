"""The interface of mixes, streams and statistics: options, limits, representations."""

import itertools

import pytest

from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.options import OPTION_NAMES, check_options


def test_open_mix_accepts_counts_and_sizes_as_text(recipe_file):
    mix = open_mix(recipe_file(), max_samples="1k", max_tokens="10M", max_bytes="64MiB")
    assert mix.limits == Limits(1000, 10_000_000, 64 * 2**20)
    assert open_mix(recipe_file()).limits == Limits()


@pytest.mark.parametrize("name", ["max_samples", "max_tokens", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, "0", "many"])
def test_open_mix_rejects_limits_that_are_not_positive(recipe_file, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a whole number above 0, such as .*, got {value!r}"):
        open_mix(recipe_file(), **{name: value})


def test_open_mix_rejects_bytes_as_a_number_of_tokens(recipe_file):
    with pytest.raises(ValueError, match=r"max_tokens must be a count, got '1GB', .* limit bytes with max_bytes"):
        open_mix(recipe_file(), max_tokens="1GB")


def test_open_mix_suggests_the_nearest_name_of_an_unknown_option(recipe_file):
    with pytest.raises(TypeError) as raised:
        open_mix(recipe_file(), max_token=5)
    assert str(raised.value) == (
        "open_mix() got an unexpected keyword argument 'max_token'. Did you mean 'max_tokens'?"
    )


def test_check_options_suggests_other_arguments_and_lists_all_names():
    check_options("load", OPTION_NAMES)
    with pytest.raises(
        TypeError, match=r"^load\(\) got an unexpected keyword argument 'streeming'. Did you mean 'stre"
    ):
        check_options("load", ["streeming"], also=["streaming"])
    with pytest.raises(TypeError, match=r"'zzz'. Its keyword arguments are seed, lanes, .*, token, split."):
        check_options("load", ["zzz"])


def test_total_tokens_requires_a_curriculum(recipe_file):
    with pytest.raises(RecipeError, match="total_tokens"):
        open_mix(recipe_file(), total_tokens="1M")


def test_mix_yields_the_records_of_all_lanes(recipe_file):
    mix = open_mix(recipe_file(lanes=2), max_samples=20)
    assert list(mix) == list(mix.stream())
    assert len(list(mix)) == 20


def test_mix_lists_skipped_sources(recipe_file):
    assert open_mix(recipe_file()).skipped == {}
    assert open_mix(recipe_file("less", sources={"c": {"weight": 0}})).skipped == {"c": "its weight is 0"}


def test_mix_repr_names_split_lanes_sources_and_limits(recipe_file):
    mix = open_mix(recipe_file(lanes=2, sources={"c": {"weight": 0}}), max_tokens="10M", max_bytes="64MiB")
    expected = "Mix('toy', split='train', 2 lanes, 2 sources, 1 skipped, max_tokens=10M, max_bytes=64MiB)"
    assert repr(mix) == expected
    assert repr(open_mix(recipe_file("one", lanes=1))) == "Mix('one', split='train', 1 lane, 3 sources)"
    page = mix._repr_html_()
    assert "66.6667%" in page
    assert "its weight is 0" in page


def test_stream_repr_shows_lanes_and_emitted_records(recipe_file):
    with open_mix(recipe_file(lanes=6)).stream([0, 1, 2, 4]) as stream:
        assert repr(stream) == "Stream('toy', lanes=0-2,4, emitted=0 records, 0 tokens)"
        assert stream.lanes == (0, 1, 2, 4)
        emitted = stream.read(1)
        assert repr(stream).startswith("Stream('toy', lanes=0-2,4, emitted=1 record, ")
        assert repr(stream).endswith(f"{emitted['tokens'][0]} tokens)")
        assert stream._repr_html_() == stream.stats._repr_html_()


def test_stream_rejects_reads_of_no_records(recipe_file):
    with pytest.raises(ValueError, match=r"^max_records must be at least 1, got 0"):
        open_mix(recipe_file()).stream().read(0)


def test_stats_of_a_stream_have_the_target_shares(recipe_file):
    mix = open_mix(recipe_file())
    stream = mix.stream()
    assert sum(1 for _ in itertools.islice(stream, 100)) == 100
    stats = stream.stats
    assert stats.targets == mix.recipe.shares
    largest = max(abs(stats.shares[source] - share) for source, share in mix.recipe.shares.items())
    assert repr(stats).startswith("MixStats(3 sources, 100 records, ")
    assert repr(stats).endswith(f" tokens, max diff {largest * 100:.2f} pp)")


def test_stats_repr_without_target_shares_has_no_difference():
    stats = MixStats({"<a>": SourceStats(emitted=3338, emitted_tokens=1_100_000, emitted_units=5)})
    assert repr(stats) == "MixStats(1 source, 3,338 records, 1.1M tokens)"
    assert '<td style="text-align:left">&lt;a&gt;</td>' in stats._repr_html_()
    assert "100.0000%" in stats._repr_html_()
