"""A known secret is found in every form in which it comes back, and never survives in part."""

from __future__ import annotations

import html
import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.scrubbing import Scrubber

PAIR = 'fleet:p"w/\\+9%41é key~'
PASSWORD = PAIR.partition(":")[2]
Form = Callable[[str], str]


def _unicode_escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _behind(lead: bytes) -> Form:
    return lambda text: b64encode(lead + text.encode() + b"!").decode()


FORMS: dict[str, Form] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json with escaped slashes": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].replace(
        "/", "\\/"
    ),
    "json unicode": _unicode_escaped,
    "json unicode in capitals": lambda text: _unicode_escaped(text).upper().replace("\\U", "\\u"),
    "json in json": lambda text: json.dumps(json.dumps(text))[1:-1].replace('\\"', "", 1),
    "percent": lambda text: quote(text, safe=""),
    "percent in small letters": lambda text: quote(text, safe="").lower(),
    "percent in part": lambda text: quote(text, safe='"\\/+ '),
    "percent everywhere": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "html": html.escape,
    "repr": lambda text: repr(text)[1:-1],
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
    "base64 for addresses": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64, one byte ahead": _behind(b"1"),
    "base64, two bytes ahead": _behind(b"12"),
    "base64, three bytes ahead": _behind(b"123"),
    "base64 in lines": lambda text: encodebytes(b"x" * 50 + text.encode()).decode().strip(),
    "base64 in percent": lambda text: quote(b64encode(text.encode()).decode(), safe=""),
    "base64 in json": lambda text: b64encode(text.encode()).decode().replace("/", "\\/"),
    "base64 of json": lambda text: b64encode(b"{'key': " + text.encode() + b"}").decode(),
    "base64 of a Basic header": lambda text: b64encode(
        b"Basic " + b64encode(text.encode())
    ).decode(),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


@forms
@pytest.mark.parametrize("part", [PAIR, PASSWORD], ids=["pair", "password"])
def test_the_secret_is_cut_out_in_every_form(form: Form, part: str) -> None:
    scrubbed = Scrubber(PAIR).text(f"<{form(part)}>")
    assert scrubbed.replace('"', "").replace("\\", "") == "<[redacted]>"


@forms
def test_a_secret_across_the_cut_leaves_nothing(form: Form) -> None:
    before, text = b"~" * 30, form(PAIR)
    whole = before + f"<{text}>".encode()
    scrubber = Scrubber(PAIR)
    for limit in range(1, len(whole) + 10):
        kept = scrubber.sample(whole, limit)
        assert len(kept) <= limit
        assert (before + b"<[redacted]>").startswith(kept.replace(b'"', b"").replace(b"\\", b""))


# Before a short secret in lines of base64 there is so much else that the cut may come first.
IN_SIGHT = sorted(FORMS.keys() - {"base64 in lines"})


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=6, max_size=60),
    st.sampled_from(IN_SIGHT),
    st.sampled_from(["plain", "json", "json unicode", "percent", "percent everywhere"]),
    st.integers(0, 60),
)
def test_no_secret_survives_two_encodings(secret: str, inner: str, outer: str, limit: int) -> None:
    before = b"#" * 40 + b"<"
    data = before + (FORMS[outer](FORMS[inner](secret)) + ">").encode()
    kept = Scrubber(secret).sample(data, limit)
    if limit <= len(before):
        assert kept == data[:limit]
    else:
        assert kept.startswith((before + b"[redacted]")[:limit])


def test_many_secrets_in_a_row_do_not_shorten_the_window() -> None:
    """Shorter replacements make room for text before the cut, and not for text after it."""
    secret = "s" * 30 + "k" * 30
    kept = Scrubber(secret).sample((secret + ",") * 1000, 4096)
    assert set(kept.decode().split(",")) == {"[redacted]"}


@pytest.mark.parametrize("secret", [None, "", "  \n"])
def test_without_a_secret_nothing_changes(secret: str | None) -> None:
    scrubber = Scrubber(secret)
    assert (scrubber.text("all of it"), scrubber.sample("all of it", 3)) == ("all of it", b"all")


def test_a_short_secret_is_found_plain_only() -> None:
    assert Scrubber("abc").text("abc-ABC-YWJj") == "[redacted]-[redacted]-YWJj"


def test_the_user_of_a_pair_is_no_secret() -> None:
    assert Scrubber("fleet:hunter2").text("fleet may not: hunter2") == "fleet may not: [redacted]"


def test_a_short_password_of_a_pair_is_found_only_with_its_user() -> None:
    assert Scrubber("fleet:abc").text("abc of fleet:abc") == "abc of [redacted]"
    assert Scrubber("fleet:abcd").text("abcd of fleet:abcd") == "[redacted] of [redacted]"


def test_the_text_around_a_secret_stays() -> None:
    text = "50%25 of the caf\\u00e9 said hunter2, and no more"
    assert Scrubber("hunter2").text(text) == text.replace("hunter2", "[redacted]")


def test_base64_beside_a_plain_secret_is_cut_out_with_it() -> None:
    pair = b64encode(b"fleet:hunter2").decode()
    assert Scrubber("fleet:hunter2").text(f"<Ahunter2{pair}>") == "<[redacted]>"


def test_other_text_stays_as_it_is() -> None:
    text = '{"vin": "WDB%20\\u00e9 &amp; \\n", "data": "aGVsbG8gd29ybGQ="}'
    assert Scrubber(PAIR).text(text) == text
    assert not Scrubber(PAIR).finds_in(text)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_bytes_can_be_sampled(data: bytes, limit: int) -> None:
    assert Scrubber(PAIR).sample(data, limit) == data[:limit]
    assert len(Scrubber("abcd").sample(data, limit)) <= limit


@given(st.text(max_size=300))
def test_any_text_can_be_scrubbed(text: str) -> None:
    assert Scrubber(PAIR).text(text) == text


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_base64_that_a_reader_put_into_one_case_is_found(change: Form) -> None:
    """Codes like CHARGING are read without regard to case."""
    text = change(b64encode(PAIR.encode()).decode())
    assert Scrubber(PAIR).text(f"code {text}.") == "code [redacted]."


CODED = "fleet:-p@ss-w_ord-12+x-"


@pytest.mark.parametrize(
    "form", ["plain", "percent", "html", "base64", "base64 for addresses", "repr"]
)
def test_a_secret_that_a_reader_of_codes_changed_is_found(form: str) -> None:
    """It makes `CHARGING_AC` of `charging-ac`, as providers/rfms does."""
    word = "_".join(FORMS[form](CODED).replace("-", " ").split()).upper()
    shown = Scrubber(CODED).text(f"code {word}.")
    assert shown.strip("_.") == "code [redacted]"


def test_base64_changed_by_a_reader_of_codes_is_found() -> None:
    secret = "fleet:>>>>>>>>"
    text = urlsafe_b64encode(secret.encode()).decode()
    assert "-" in text
    word = text.replace("-", "_").upper()
    assert Scrubber(secret).text(f"code {word}.") == "code [redacted]."


@given(st.text(st.sampled_from("ab-_ "), min_size=1, max_size=8))
def test_a_secret_of_separators_does_not_hide_every_text(secret: str) -> None:
    assert Scrubber(secret).text("nothing of it") == "nothing of it"
