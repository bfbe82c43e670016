"""Patterns over paths: `*` within a segment, `**` across, held against a plain reading of both."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from expmgr.catalog.globs import check_pattern, matches
from expmgr.catalog.training_files import OPTIMIZER_FILES

SEGMENTS = st.text("ab.[", min_size=1, max_size=3).filter(lambda text: set(text) != {"."})
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4)
PATTERNS = st.lists(
    st.sampled_from(["**", "*", "a*", "*b", "?", "a?", "[ab]", "[!a]*", "a.b", ".*"]),
    min_size=1,
    max_size=4,
)


def reads(pattern, path):
    """Segment by segment, without regular expressions of our own."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(reads(pattern[1:], path[at:]) for at in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and reads(pattern[1:], path[1:])


@given(PATTERNS, PATHS)
def test_a_pattern_means_what_a_plain_reading_of_it_says(pattern, path):
    text = "/".join(pattern)
    assert check_pattern(text) == text
    assert matches(text, "/".join(path)) == reads(pattern, path)


def test_what_a_model_needs_to_load_matches_no_pattern_of_the_table():
    needed = [
        "MLmodel",
        "model.pkl",
        "requirements.txt",
        "conda.yaml",
        "python_env.yaml",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model_fsdp_0/__0_0.distcp",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "config.json",
        "generation_config.json",
        "scheduler/scheduler_config.json",
        "global_step5/mp_rank_00_model_states.pt",
        "global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt",
        "code/optimizer.py",
        "trainer_state.json",
        "training_args.bin",
        "data/model.pth",
        "model.weights.h5",
    ]
    found = [
        (path, row.pattern)
        for name in needed
        for path in (name, f"artifacts/checkpoint-5/{name}")
        for row in OPTIMIZER_FILES
        if matches(row.pattern, path)
    ]
    assert found == []
    assert all(row.source for row in OPTIMIZER_FILES)
