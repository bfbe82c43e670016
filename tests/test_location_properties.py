"""The guard against generated URIs, ids and trees: 10,000 of them, held against an oracle.

The oracle knows nothing of URIs, prefixes or string matching: it has the segments that a URI was
built from, and compares lists of segments.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expmgr.errors import LocationError
from expmgr.storage.addresses import Addresses
from expmgr.storage.artifact_uri import parse_artifact_uri
from expmgr.storage.blob_path import is_addressable
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location, check_location
from expmgr.storage.store import Store

STORE = Store("account", "models", "https://account.blob.core.windows.net")


def examples(number):
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Few ids that are prefixes, suffixes and case variants of each other: collisions are the point.
IDS = ["run1", "run10", "run", "Run1", "1run1", "run1-", "m-run1", "artifacts", "models", "r_1"]
GOOD_SEGMENTS = [*IDS, "0", "1", "model", "model2", "MLmodel", "a b", "ü", "x.y", "..x", "x..", "+"]
BAD_SEGMENTS = ["", ".", "..", "...", "\\", "a\\b", "..\\x", "a\x00", "a\nb", "\x7f", " x", "x "]
HOSTILE_TEXT = ["%2e%2e", "%2E", "%2f", "%2F..", "%5c", "%00", "%252e%252e", "%25252e", "a%2fb"]

ids = st.sampled_from(IDS)
good_segments = st.lists(st.sampled_from(GOOD_SEGMENTS), max_size=4)
names = st.lists(
    st.sampled_from([*GOOD_SEGMENTS, "artifacts", "artifacts", ""]), min_size=1, max_size=7
)


@dataclass(frozen=True)
class Place:
    """What a run owns, as lists of segments."""

    kind: str
    owner: str
    segments: tuple[str, ...]

    def owns(self, name: str) -> bool:
        """The oracle: more segments than the location, and the same ones up to there."""
        parts = name.split("/")
        return len(parts) > len(self.segments) and all(
            ours == theirs for ours, theirs in zip(self.segments, parts, strict=False)
        )

    def locate(self) -> Location:
        root = "wasbs://models@account.blob.core.windows.net/"
        if self.kind == "logged_model":
            return Addresses(STORE).logged_model(root + "/".join(self.segments), self.owner)
        if self.kind == "run_artifacts":
            return Addresses(STORE).run_artifacts(root + "/".join(self.segments), self.owner)
        cut = len(self.segments) - 1
        return Addresses(STORE).run_model(
            root + "/".join(self.segments[:cut]), self.owner, self.segments[cut]
        )


@st.composite
def places(draw):
    kind = draw(st.sampled_from(["logged_model", "run_model", "run_artifacts"]))
    owner = draw(ids)
    segments = [*draw(good_segments), owner, "artifacts"]
    if kind == "run_model":
        segments.append(draw(st.sampled_from(GOOD_SEGMENTS)))
    return Place(kind, owner, tuple(segments))


@examples(3_000)
@given(place=places(), tree=st.lists(names, max_size=8), below=names)
def test_a_location_holds_exactly_what_the_oracle_says(place, tree, below):
    location = place.locate()
    last = place.segments[-1]
    near = [
        "/".join(place.segments),
        "/".join((*place.segments, *below)),
        "/".join((*place.segments[:-1], last + "0", *below)),
        "/".join((*place.segments[:-1], last[:-1], *below)),
        "/".join((*place.segments[:-1], last.swapcase(), *below)),
        "/".join((*place.segments[:-2], place.segments[-2] + "0", last, *below)),
        "/".join(("x", *place.segments, *below)),
    ]
    for name in [*near, *("/".join(parts) for parts in tree)]:
        assert location.holds(name) == place.owns(name), name


@examples(1_500)
@given(place=places(), foreign=st.lists(names, max_size=4), below=st.none() | names)
def test_a_foreign_root_within_refuses_and_others_do_not(place, foreign, below):
    near = [(*place.segments[:-1], place.segments[-1] + end) for end in ("0", "-", ".")]
    roots = ["/".join(part for part in parts if part) for parts in [*foreign, *near]]
    if below is not None:
        roots.append("/".join((*place.segments, *[part for part in below if part])))
    inside = any(place.owns(root) or root.split("/") == list(place.segments) for root in roots)

    try:
        check_location(place.locate(), store=STORE, foreign_roots=roots)
    except LocationError:
        assert inside
    else:
        assert not inside


@dataclass(frozen=True)
class Uri:
    """A URI and what it was built from."""

    text: str
    segments: tuple[str, ...]
    ours: bool


@st.composite
def uris(draw):
    """URIs whose every part may be wrong; `ours` says whether none is."""
    scheme = draw(st.sampled_from(["wasbs", "abfss", "https"]))
    service = "dfs" if scheme == "abfss" else "blob"
    account = draw(st.sampled_from(["account"] * 6 + ["other", "accoun", "account1"]))
    suffix = draw(
        st.sampled_from(
            ["core.windows.net"] * 6
            + ["core.chinacloudapi.cn", "core.windows.net.evil.example", "evil.example"]
        )
    )
    container = draw(st.sampled_from(["models"] * 6 + ["model", "models2", "Models"]))
    segments = draw(
        st.lists(
            st.sampled_from(GOOD_SEGMENTS) | st.sampled_from(BAD_SEGMENTS + HOSTILE_TEXT),
            min_size=1,
            max_size=5,
        )
        | st.lists(st.sampled_from(GOOD_SEGMENTS), min_size=1, max_size=5)
    )
    tail = draw(st.sampled_from([""] * 8 + ["?", "?sig=x", "#", "#x"]))
    host = f"{account}.{service}.{suffix}"
    path = "/".join(segments)
    if scheme == "https":
        text = f"https://{host}/{container}/{path}{tail}"
    else:
        text = f"{scheme}://{container}@{host}/{path}{tail}"
    # One trailing slash is MLflow's own habit, and no segment.
    meant = segments[:-1] if len(segments) > 1 and segments[-1] == "" else segments
    ours = (
        (account, suffix, container, tail) == ("account", "core.windows.net", "models", "")
        and not set(meant) & set(BAD_SEGMENTS)
        and not any(hostile in path for hostile in HOSTILE_TEXT)
        and segments != [""]
        and "\\" not in path
    )
    return Uri(text, tuple(meant), ours)


placed = st.sampled_from([*IDS, "xrun1", "artifacts", "artifacts", "artifacts0", "xartifacts"])


@examples(1_000)
@given(segments=st.lists(placed, min_size=1, max_size=5), owner=ids, model=placed)
def test_the_id_stands_as_a_whole_segment_in_its_place_or_nothing_is_made(segments, owner, model):
    uri = "wasbs://models@account.blob.core.windows.net/" + "/".join(segments)
    in_place = len(segments) > 1 and segments[-2] == owner and segments[-1] == "artifacts"
    for make in (
        lambda: Addresses(STORE).logged_model(uri, owner),
        lambda: Addresses(STORE).run_artifacts(uri, owner),
        lambda: Addresses(STORE).run_model(uri, owner, model),
    ):
        try:
            made = make()
        except LocationError:
            made = None
        assert (made is not None) == in_place


@examples(2_000)
@given(uri=uris())
def test_a_uri_is_taken_exactly_where_every_part_is_right(uri):
    try:
        path = parse_artifact_uri(uri.text, STORE)
    except LocationError:
        path = None
    assert (path is not None) == uri.ours
    assert path is None or path.split("/") == list(uri.segments)


text_near_a_uri = st.lists(
    st.sampled_from(
        [
            *IDS,
            *BAD_SEGMENTS,
            *HOSTILE_TEXT,
            "wasbs://",
            "https://",
            "mlflow-artifacts:",
            "models@",
            "account.blob.core.windows.net",
            "/",
            "/",
            "/",
            ":",
            "@",
            "?",
            "#",
            "%",
            "/run1/artifacts",
            "/models/",
        ]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@examples(2_500)
@given(
    uri=text_near_a_uri
    | text_near_a_uri.map(lambda text: f"wasbs://models@account.blob.core.windows.net/{text}")
    | text_near_a_uri.map(lambda text: f"https://account.blob.core.windows.net/models/{text}"),
    owner=ids | st.text(max_size=4),
    model_path=text_near_a_uri,
    destination=st.none() | st.just("wasbs://models@account.blob.core.windows.net/served"),
)
def test_whatever_is_accepted_is_safe(uri, owner, model_path, destination):
    locations = []
    for make in (
        lambda: Addresses(STORE, destination).logged_model(uri, owner),
        lambda: Addresses(STORE, destination).run_artifacts(uri, owner),
        lambda: Addresses(STORE, destination).run_model(uri, owner, model_path),
    ):
        try:
            locations.append(make())
        except LocationError:
            continue
    for location in locations:
        segments = location.path.split("/")
        assert (location.account, location.container) == ("account", "models")
        assert all(segment and set(segment) != {"."} for segment in segments)
        assert is_addressable(location.path)
        assert not any(ord(char) < 32 or char in "\\\x7f" for char in location.path)
        place = [index for index, segment in enumerate(segments[:-1]) if segment == owner]
        assert any(segments[index + 1] == "artifacts" for index in place)
        if location.kind != "run_model":
            assert segments[-2:] == [owner, "artifacts"]
        else:
            assert segments[-1] != "artifacts" or len(segments) > 2
        assert "/" not in owner
        assert owner


def test_a_sample_of_the_trees_on_a_real_container(credentials, put_blob, blob_names):
    """What Azurite lists and deletes under a location is what the oracle says."""
    trees = [
        Place("run_artifacts", "run1", ("1", "run1", "artifacts")),
        Place("run_model", "run10", ("1", "run10", "artifacts", "model")),
        Place("logged_model", "m-run1", ("1", "models", "m-run1", "artifacts")),
    ]
    below = [("MLmodel",), ("model", "MLmodel"), ("model2", "x"), ("a b", "ü", "%2F"), ("x", "")]
    everything = set()
    for place in trees:
        for name in below:
            parts = place.segments
            for variant in (
                (*parts, *name),
                (*parts[:-1], parts[-1] + "0", *name),
                (*parts[:-2], parts[-2] + "0", parts[-1], *name),
                (*parts[:-2], parts[-2].upper(), parts[-1], *name),
                ("x", *parts, *name),
                parts,
            ):
                everything.add("/".join(variant))
    for name in everything:
        put_blob(name)
    store = BlobStore(credentials)
    try:
        for place in trees:
            path = "/".join(place.segments)
            location = Location(
                store.store.account, store.store.container, path, place.kind, place.owner
            )
            owned = {name for name in everything if place.owns(name)}
            assert {blob.name for blob in store.list(location.prefix)} == owned
            assert owned
            assert store.delete([location]).files == len(owned)
            everything -= owned
            assert set(blob_names()) == everything
    finally:
        store.close()
