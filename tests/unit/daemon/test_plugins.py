"""Plugins of real distributions, laid out on the import path as an installer does it."""

import sys

import pytest

from gatewayd.plugins import PluginError, load_group


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution, entries, **modules):
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[gatewayd.test]\n" + "\n".join(entries) + "\n")
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)

    return install


def test_nothing_is_imported_before_its_first_use(install):
    install("acme", ["one = acme_one:Thing", "two = acme_two:Thing"], acme_one="class Thing: pass", acme_two="1 / 0")
    plugins = load_group("gatewayd.test")
    assert list(plugins) == ["one", "two"]
    assert "acme_one" not in sys.modules
    assert plugins["one"]().__name__ == "Thing"
    assert plugins["one"]() is plugins["one"]()


@pytest.mark.parametrize(
    ("entry", "text", "reason"),
    [
        ("broken = acme_broken:Thing", "1 / 0", "ZeroDivisionError"),
        ("broken = acme_broken2:Missing", "", "AttributeError"),
        ("broken = acme_nowhere:Thing", "", "ModuleNotFoundError"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution_and_reason(install, entry, text, reason):
    install("acme", [entry], acme_broken=text, acme_broken2=text)
    with pytest.raises(PluginError) as caught:
        load_group("gatewayd.test")["broken"]()
    for part in ("gatewayd.test", "'broken'", "acme 1.0", reason):
        assert part in caught.value.message


def test_two_distributions_with_one_name_are_both_named(install):
    install("acme", ["thing = acme_thing:Thing"])
    install("zenith", ["thing = zenith_thing:Thing"])
    with pytest.raises(PluginError) as caught:
        load_group("gatewayd.test")
    assert "acme 1.0" in caught.value.message
    assert "zenith 1.0" in caught.value.message
    assert "'thing'" in caught.value.message


def test_a_group_that_nobody_offers_is_empty():
    assert load_group("gatewayd.nothing") == {}


def test_our_own_groups_are_there():
    assert {"sim", "local"} <= load_group("gatewayd.channels").keys()
