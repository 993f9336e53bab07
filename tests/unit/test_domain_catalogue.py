"""How a catalogue travels: whole, or told apart from whole; and how its words are found."""

import io
import unicodedata

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.catalogue import (
    LINE_BYTES_MAX,
    Article,
    Lead,
    fold,
    pack_transfer,
    read_transfer,
    unpack_transfer,
    words,
    write_transfer,
)
from appliance.domain.errors import BadInput, Malformed, TooLarge
from tests.fakes.catalogue import an_article, packed

ARTICLES = [an_article(number) for number in range(1, 4)]


def lines(version: int = 5, since: int | None = 4) -> list[bytes]:
    return list(write_transfer(Lead(version, since), ARTICLES))


@given(
    st.lists(st.builds(an_article, st.integers(1, 10**9), name=st.text(max_size=60)), max_size=30),
    st.booleans(),
)
def test_what_is_written_is_read(articles: list[Article], whole: bool) -> None:
    lead = Lead(9, None if whole else 8)

    chunks = pack_transfer(write_transfer(lead, articles))

    assert list(read_transfer(unpack_transfer(io.BytesIO(b"".join(chunks))))) == [lead, *articles]


@pytest.mark.parametrize("kept", range(5))
def test_a_transfer_cut_between_lines_is_not_taken_for_a_whole_one(kept: int) -> None:
    with pytest.raises(Malformed):
        list(read_transfer(lines()[:kept]))


@given(st.data())
def test_a_changed_byte_is_always_noticed(data: st.DataObject) -> None:
    text = bytearray(b"".join(lines()))
    text[data.draw(st.integers(0, len(text) - 2))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Malformed):
        list(read_transfer(bytes(text).splitlines(keepends=True)))


@given(st.integers(0, 10_000))
def test_a_cut_frame_never_gives_fewer_articles(place: int) -> None:
    body = packed(5, ARTICLES)

    assert_whole_or_refused(body[: place % len(body)])


@given(st.data())
def test_a_changed_byte_of_the_frame_never_gives_other_articles(data: st.DataObject) -> None:
    body = bytearray(packed(5, ARTICLES))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))

    assert_whole_or_refused(bytes(body))


def assert_whole_or_refused(body: bytes) -> None:
    try:
        read = list(read_transfer(unpack_transfer(io.BytesIO(body))))
    except BadInput:
        return
    # What follows the content (zstd's own checksum), or a reserved bit before it, may be amiss without harm.
    assert read == [Lead(5, None), *ARTICLES]


@pytest.mark.parametrize(
    "line", [b'{"article_id":"\xff"}\n', b"[" * 50_000 + b"\n", b"\n", b"{}\n", b"null\n"]
)
def test_a_line_that_is_no_article_says_so(line: bytes) -> None:
    with pytest.raises(Malformed, match="cannot be read"):
        list(read_transfer([*lines()[:2], line, *lines()[2:]]))


def test_a_body_without_line_feeds_does_not_fill_the_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"x" * (LINE_BYTES_MAX * 100))

    with pytest.raises(TooLarge):
        next(unpack_transfer(io.BytesIO(bomb)))


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    frame = compressor.compress(b"".join(lines())) + compressor.flush()

    with pytest.raises(Malformed, match="zstd"):
        list(unpack_transfer(io.BytesIO(frame)))


def test_a_field_of_a_later_release_costs_nobody_his_prices() -> None:
    later = msgspec.json.encode({**msgspec.to_builtins(ARTICLES[0]), "season": "2027"})

    assert msgspec.json.decode(later, type=Article) == ARTICLES[0]


@pytest.mark.parametrize("code", ["1234567", "123456789012345", "12345678\n", "1234567a", "١٢٣٤٥٦٧٨"])
def test_a_gtin_is_8_to_14_digits(code: str) -> None:
    body = msgspec.json.encode({**msgspec.to_builtins(ARTICLES[0]), "gtins": [code]})

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Article)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Crème BRÛLÉE", "creme brulee"),
        ("Œuf, œuf, Ǽ", "oeuf, oeuf, ae"),
        ("Smørrebrød Łódź", "smorrebrod lodz"),
        ("Straße ﬁn ™", "strasse fin tm"),
        ("İzmir \N{LATIN SMALL LETTER DOTLESS I}l\N{LATIN SMALL LETTER DOTLESS I}k", "izmir ilik"),
        ("Кофе Чёрный", "кофе черныи"),
        ("e\N{COMBINING ACUTE ACCENT}", "e"),
    ],
)
def test_accents_ligatures_and_case_do_not_count(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_how_a_text_was_composed_does_not_count(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


def test_words_are_letters_and_digits() -> None:
    assert words('L\'eau  d_été 1,5L (-20%) "NEAR" *') == ["l", "eau", "d", "ete", "1", "5l", "20", "near"]
