"""The streaming reader of listings says what a tree of the same answer says, or refuses."""

from __future__ import annotations

from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import pytest
from azure.core.pipeline.policies import ContentDecodePolicy
from hypothesis import given
from hypothesis import strategies as st
from storage_wire import Wire, answer, blob_entry, closing_store, failure, listing_answer

from expmgr import AzureBlobCredentials, RetryConfig, RetryParams
from expmgr.errors import StorageError
from expmgr.storage.listing_xml import Enumeration, read_enumeration

CREDENTIALS = AzureBlobCredentials(
    account_name="account", account_key="a2V5", container_name="models"
)
ONCE = RetryConfig(list_blobs=RetryParams(attempts=1, deadline=60, wait_initial=0, wait_max=0))
PREFIX = "1/run1/artifacts/"


def told(name, properties, is_directory):
    """All that a blob is made of; where ours finds the text of what has no name, none counts."""
    return name, dict(properties), is_directory


# ------------------------------------------------------------------------ the tree, as the oracle


def by_tree(body: bytes) -> Enumeration:
    """What the reader said that made a tree, after the SDK had made one of its own."""
    ET.fromstring(body.decode("utf-8-sig"))
    root = ET.fromstring(body)
    prefix = root.find("Prefix")
    return Enumeration(
        root.tag.removeprefix("{"),
        root.get("ServiceEndpoint", ""),
        root.get("ContainerName", ""),
        "" if prefix is None else name_of(prefix),
        root.find("Blobs") is not None,
        tuple(blob_of(element) for element in root.iterfind("Blobs/Blob")),
        tuple(name_of(element) for element in root.iterfind("Blobs/BlobPrefix/Name")),
        root.findtext("NextMarker") or "",
    )


def name_of(element):
    name = element.text or ""
    return unquote(name) if element.get("Encoded") == "true" else name


def blob_of(element):
    name = ""
    properties = {}
    is_directory = False
    for child in element:
        if child.tag == "Name":
            name = name_of(child)
        elif child.tag == "Properties":
            properties = {
                entry.tag.removeprefix("{"): entry.text or "" for entry in child if not len(entry)
            }
        elif child.tag == "Metadata":
            is_directory = any(
                entry.tag.lower() == "hdi_isfolder" and (entry.text or "").lower() == "true"
                for entry in child
            )
    return told(name, properties, is_directory)


def read(reader, body):
    try:
        return reader(body)
    except (ValueError, SyntaxError):
        return None


# --------------------------------------------------------------------------------- what is drawn

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r &<>\"'/%+#\x85\u2028]\U0001f389\u0301\xa0"),
    max_size=12,
)
odd_texts = (
    texts
    | st.just("x" * 20_000)
    | st.sampled_from(["%2e%2e/", "a%20b", "]]>", "&amp;", "true", "TRUE", " true", "%ff", "%00"])
)
spaces = st.sampled_from(["", "", "", "\n", "\n  ", " <!-- between -->", "<?what ever?>"])


@st.composite
def written(draw, text):
    """A text as XML may write it."""
    way = draw(st.sampled_from(["plain", "plain", "cdata", "numbers", "cut"]))
    if way == "cdata" and "]]>" not in text and "\r" not in text:
        return f"<![CDATA[{text}]]>"
    if way == "numbers":
        return "".join(f"&#{ord(letter)};" for letter in text)
    if way == "cut":
        half = len(text) // 2
        return f"{plain(text[:half])}<!-- cut -->{plain(text[half:])}"
    return plain(text)


def plain(text):
    return escape(text, {"\r": "&#13;"})


@st.composite
def element(draw, tag, text, *, encoded=False):
    given_ = ' Encoded="true"' if encoded else draw(st.sampled_from(["", "", ' Encoded="false"']))
    if not text and draw(st.booleans()):
        return f"<{tag}{given_}/>"
    return f"<{tag}{given_}>{draw(written(text))}</{tag} >"


@st.composite
def named(draw, tag="Name"):
    return draw(element(tag, draw(odd_texts), encoded=draw(st.booleans())))


NESTED = [
    "<Future><Etag>inner</Etag>text<Name>inner</Name></Future>",
    "<Future>text<Blob><Name>inner</Name></Blob></Future>",
    '<x:Etag xmlns:x="urn:x">inner</x:Etag>',
]
PROPERTIES = [
    *("Creation-Time", "Last-Modified", "Etag", "Content-Length", "Content-Type", "AccessTier"),
    *("AccessTierChangeTime", "ResourceType", "Content-MD5", "LeaseStatus", "Future"),
]


@st.composite
def fields(draw, tag, keys):
    entries = [
        draw(element(key, draw(odd_texts)))
        for key in draw(st.lists(st.sampled_from(keys), unique=True, max_size=6))
    ]
    entries += draw(st.lists(st.sampled_from(NESTED), max_size=1))
    body = "".join(f"{draw(spaces)}{entry}" for entry in draw(st.permutations(entries)))
    return f"<{tag}>{body}{draw(spaces)}</{tag}>"


@st.composite
def blobs(draw):
    parts = [draw(named())] if draw(st.integers(0, 9)) else []
    parts += [draw(fields("Properties", PROPERTIES))] if draw(st.integers(0, 9)) else []
    if draw(st.booleans()):
        parts.append(draw(fields("Metadata", ["hdi_isfolder", "HDI_isFolder", "Etag", "Name"])))
    if draw(st.booleans()):
        parts.append(draw(fields("OrMetadata", ["hdi_isfolder", "Etag"])))
    parts += draw(
        st.lists(
            st.sampled_from(
                [
                    "<VersionId>2026</VersionId>",
                    "<Tags><TagSet><Tag><Key>Name</Key><Value>x</Value></Tag></TagSet></Tags>",
                    "<Snapshot/>",
                    "text",
                ]
            ),
            max_size=2,
        )
    )
    return f"<Blob>{draw(spaces).join(draw(st.permutations(parts)))}</Blob>"


@st.composite
def folders(draw):
    extra = draw(st.sampled_from(["", "<Properties><Etag>x</Etag></Properties>"]))
    return f"<BlobPrefix>{draw(named())}{extra}</BlobPrefix>"


@st.composite
def listings(draw):
    items = draw(st.lists(blobs() | folders(), max_size=4))
    parts = draw(st.lists(st.sampled_from(["<Marker/>", "<MaxResults>5000</MaxResults>"])))
    parts.append(f"<Blobs>{draw(spaces).join(items)}{draw(spaces)}</Blobs>")
    parts += [draw(named("Prefix"))] if draw(st.booleans()) else []
    parts += [draw(element("NextMarker", draw(odd_texts)))] if draw(st.integers(0, 4)) else []
    parts += draw(
        st.lists(
            st.sampled_from(
                [
                    "<Blobs/>",
                    "<Prefix>second</Prefix>",
                    "<NextMarker>second</NextMarker>",
                    "<Other><Blob><Name>no blob</Name></Blob><BlobPrefix/></Other>",
                    "<Blob><Name>no blob</Name></Blob>",
                ]
            ),
            max_size=2,
        )
    )
    tag = draw(st.sampled_from(["EnumerationResults"] * 8 + ["html", "Error"]))
    scope = draw(st.sampled_from([""] * 8 + [' xmlns="urn:other"']))
    root = (
        f"<{tag} ServiceEndpoint={quoteattr(draw(texts))} ContainerName={quoteattr(draw(texts))}"
        f"{scope}>{draw(spaces).join(draw(st.permutations(parts)))}{draw(spaces)}</{tag}>"
    )
    head = draw(
        st.sampled_from(["", '<?xml version="1.0" encoding="utf-8"?>', '<?xml version="1.0"?>\n'])
    )
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return mark + (head + root).encode()


@given(listings())
def test_it_reads_what_a_tree_of_the_answer_holds(body):
    assert read_enumeration(body, told) == by_tree(body)


@given(listings(), st.data())
def test_of_a_damaged_answer_it_never_says_anything_else_than_the_tree(body, data):
    at = data.draw(st.integers(0, len(body) - 1))
    damage = data.draw(st.sampled_from(["cut", "flip", "lose", "twice", "put"]))
    end = data.draw(st.integers(at, min(len(body), at + 40)))
    put = data.draw(st.sampled_from([b"<a/>", b"</Blob>", b"<Blob>", b"&x;", b"\xff", b"<!--"]))
    body = {
        "cut": body[:at],
        "flip": body[:at] + bytes([body[at] ^ 1 << data.draw(st.integers(0, 7))]) + body[at + 1 :],
        "lose": body[:at] + body[end:],
        "twice": body[:end] + body[at:],
        "put": body[:at] + put + body[at:],
    }[damage]
    ours = read(lambda text: read_enumeration(text, told), body)
    assert ours is None or ours == read(by_tree, body)


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "1/run1/artifacts/a"><!ENTITY b SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "head", [ENTITIES, b"<!DOCTYPE EnumerationResults>", b'<!DOCTYPE x SYSTEM "http://x/y">']
)
def test_a_document_type_is_refused_before_anything_is_expanded(head):
    listed = listing_answer(blob_entry("NAME")).content.replace(b"NAME", b"&a;")
    start = listed.index(b"<EnumerationResults")
    with pytest.raises(ValueError, match="document type"):
        read_enumeration(listed[:start] + head + listed[start:], told)


@pytest.mark.parametrize("tag", ["Name", "Etag", "Content-Length", "Last-Modified"])
def test_an_element_where_text_belongs_is_refused(tag):
    listed = listing_answer(blob_entry(f"{PREFIX}a")).content.decode()
    wrong = listed.replace(f"</{tag}>", f"<x/>more</{tag}>")
    assert wrong != listed
    with pytest.raises(ValueError, match="holds elements"):
        read_enumeration(wrong.encode(), told)


# -------------------------------------------------------------------------- under the whole SDK


@pytest.fixture
def decoded(monkeypatch):
    """What azure-core decodes of answers, by its own hand."""
    seen = []
    decode = ContentDecodePolicy.deserialize_from_text.__func__

    def watch(cls, data, mime_type=None, response=None):
        seen.append(mime_type)
        return decode(cls, data, mime_type, response)

    monkeypatch.setattr(ContentDecodePolicy, "deserialize_from_text", classmethod(watch))
    return seen


def listed_by(fault):
    with closing_store(Wire(fault=fault), CREDENTIALS, ONCE) as store:
        return [blob.name for blob in store.list(PREFIX)]


def test_a_page_is_decoded_once_and_by_nobody_else(decoded):
    def two_pages(seen, forward):
        first = "marker=" not in seen.url
        return listing_answer(blob_entry(f"{PREFIX}{'a' if first else 'b'}"), "b" if first else "")

    assert listed_by(two_pages) == [f"{PREFIX}a", f"{PREFIX}b"]
    assert decoded == []


def test_an_error_is_still_decoded_by_the_sdk(decoded):
    with pytest.raises(StorageError, match="403 AuthenticationFailed") as caught:
        listed_by(lambda seen, forward: failure(403, "AuthenticationFailed"))
    assert (caught.value.__cause__.status_code, caught.value.__cause__.error_code) == (
        403,
        "AuthenticationFailed",
    )
    assert decoded


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain", ""])
def test_a_listing_under_another_content_type_is_none(kind):
    listing = listing_answer("").content
    with pytest.raises(StorageError, match="not XML"):
        listed_by(lambda seen, forward: answer(200, listing, {"Content-Type": kind}))


@pytest.mark.parametrize("kind", ["application/xml", "text/xml; charset=utf-8", "APPLICATION/XML"])
def test_a_listing_is_xml_by_any_of_its_names(kind):
    listing = listing_answer(blob_entry(f"{PREFIX}a")).content
    found = listed_by(lambda seen, forward: answer(200, listing, {"Content-Type": kind}))
    assert found == [f"{PREFIX}a"]
