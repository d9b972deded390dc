"""What a config says about versions and counts."""

import pytest

from fastserve.config.model_config import ModelConfig, VersionPolicy, integer_parameter
from fastserve.config.pbtxt import Source
from fastserve.errors import Error


@pytest.mark.parametrize(
    ("policy", "present", "chosen"),
    [
        (VersionPolicy(), (3, 1, 20), (20,)),
        (VersionPolicy(latest=2), (3, 1, 20), (3, 20)),
        (VersionPolicy(latest=9), (3, 1), (1, 3)),
        (VersionPolicy(latest=2**32 - 1), (3, 1), (1, 3)),
        (VersionPolicy(latest=None), (3, 1, 20), (1, 3, 20)),
        (VersionPolicy(latest=None, specific=(20, 3, 3, 7)), (3, 1, 20), (3, 20)),
        (VersionPolicy(latest=None, specific=(7,)), (3,), ()),
        (VersionPolicy(), (), ()),
    ],
)
def test_a_policy_chooses_among_the_versions_present_lowest_first(policy, present, chosen):
    assert policy.choose(present) == chosen


def test_without_a_word_about_shapes_or_batches_batching_is_automatic():
    assert ModelConfig().batching_is_automatic
    assert not ModelConfig(max_batch_size=0).batching_is_automatic


def test_a_parameter_that_is_not_given_has_its_default():
    assert integer_parameter(ModelConfig(), "threads", 4) == 4


def test_a_parameter_is_read_as_an_integer():
    assert integer_parameter(ModelConfig(parameters={"threads": " 2 "}), "threads", 4) == 2


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5", "99999999999999999999", "1_0", "9"])
def test_a_wrong_parameter_is_named_with_its_line(text):
    source = Source("m/config.pbtxt", {'parameters["a.b"]': 9})
    config = ModelConfig(parameters={"a.b": text}, source=source)
    with pytest.raises(Error) as caught:
        integer_parameter(config, "a.b", 1, maximum=8)
    assert caught.value.message == (
        f"m/config.pbtxt:9: parameters[\"a.b\"]: expected an integer from 0 to 8, found '{text}'"
    )
