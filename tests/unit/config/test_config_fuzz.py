"""Whatever a file holds, loading ends at once, in a configuration or in `ConfigRefused`."""

import gc
import time
from collections.abc import Iterator

import pytest
import yaml
from config_rig import ROOT, in_time, lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLE = (ROOT.parent / "packaging" / "gateway.example.yaml").read_bytes()
KNOWN = sorted({word for word in EXAMPLE.decode().replace(":", " ").split() if word.isidentifier()})
QUICK = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Going through what other tests left in this process is no cost of the loader's."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def survives(text: bytes) -> None:
    began = time.process_time()

    printed = lines(text)

    in_time(time.process_time() - began)
    assert all(line.isprintable() for line in printed)


@QUICK
@given(st.binary(max_size=300))
def test_F06_any_bytes(text: bytes) -> None:
    survives(text)


@QUICK
@given(st.text(alphabet="ab:-[]{},&*!|>'\"%@`#? \n\t\\${}0.~", max_size=200))
def test_F06_any_text_in_the_signs_of_yaml(text: str) -> None:
    survives(text.encode())


@QUICK
@given(st.data())
def test_F06_mutations_of_the_example(data: st.DataObject) -> None:
    text = bytearray(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 20))
        text[place : place + length] = data.draw(
            st.binary(max_size=5) | st.sampled_from([b"\n", b"  ", b": ", b"- ", b"'"])
        )
    survives(bytes(text))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["${A}", "${A:-b}", "file:/etc/secret", "10s", "4MiB", "offline/assistant", "a"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)
_SECTIONS = ["gateway", "agents", "channels", "provider", "clients", "storage", "bus"]


@QUICK
@given(st.dictionaries(st.sampled_from(_SECTIONS), _VALUES, max_size=7))
def test_F03_any_value_under_any_key(tree: dict[str, object]) -> None:
    survives(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@QUICK
@given(st.sampled_from(_SECTIONS), st.dictionaries(st.sampled_from(KNOWN), _VALUES, max_size=5))
def test_F03_any_value_inside_a_named_part(section: str, values: dict[str, object]) -> None:
    survives(yaml.safe_dump({section: {"a": values, **values}}, allow_unicode=True).encode("utf-8", "replace"))
