"""Plugins of real distributions, laid out on the import path as an installer does it."""

import sys
from importlib.metadata import entry_points

import pytest

from gatewayd.plugins import PluginError, installed, load_group


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


def test_a_list_is_read_as_installers_may_write_it(install, tmp_path):
    install(
        "acme", ["# one = acme:Old", "two=acme_two:Box.inner [extra]", "", "no target"], acme_two="class Box: inner = 2"
    )
    (tmp_path / "zenith-1.0.dist-info").mkdir()  # without a list
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_bytes(b"[gatewayd.test]\n\xff = a:b\n")
    assert {name: load() for name, load in load_group("gatewayd.test").items()} == {"two": 2}


def test_the_first_installation_of_a_distribution_counts(install, tmp_path):
    install("acme", ["thing = acme_first:Thing"])
    later = tmp_path / "later"
    (later / "acme-2.0.dist-info").mkdir(parents=True)
    (later / "acme-2.0.dist-info" / "entry_points.txt").write_text("[gatewayd.test]\nthing = acme_later:Thing\n")
    (plugin,) = installed([str(tmp_path), str(later), str(tmp_path / "nowhere")])
    assert (plugin.target, plugin.origin) == ("acme_first:Thing", "acme 1.0")


@pytest.mark.parametrize(
    ("folder", "origin"),
    [
        ("my_plugin-1.0.dist-info", "my_plugin 1.0"),
        ("my-plugin-1.0.dist-info", "my-plugin 1.0"),
        ("my-2-plugins-2!1.0rc1+local.7.dist-info", "my-2-plugins 2!1.0rc1+local.7"),
        ("My.Plugin-1.0.post1.dist-info", "My.Plugin 1.0.post1"),
        ("my_plugin-1.0-py3.11.egg-info", "my_plugin 1.0"),
        ("my_plugin-1.0-py3.11-linux-x86_64.egg-info", "my_plugin 1.0"),
        ("my_plugin.egg-info", "my_plugin"),
        ("my-plugin.egg-info", "my-plugin"),
    ],
)
def test_name_and_version_are_told_apart_as_installers_write_them(tmp_path, folder, origin):
    laid_out(tmp_path, folder, "thing = acme:Thing")
    assert [one.origin for one in installed([str(tmp_path)])] == [origin]


def test_names_that_begin_alike_are_different_distributions(tmp_path):
    laid_out(tmp_path, "my-plugin-1.0.dist-info", "one = acme:Thing")
    laid_out(tmp_path, "my-other-1.0.dist-info", "two = acme:Thing")
    assert {one.name for one in installed([str(tmp_path)])} == {"one", "two"}


def test_a_distribution_is_one_however_its_name_is_written(tmp_path):
    """Installers of different ages write it differently; the standard says which are equal."""
    places = []
    for number, name in enumerate(("my_plugin", "my-plugin", "My.Plugin", "my--plugin")):
        places.append(tmp_path / str(number))
        laid_out(places[-1], f"{name}-1.{number}.dist-info", f"thing = acme_{number}:Thing")
    assert [one.target for one in installed(map(str, places))] == ["acme_0:Thing"]


def laid_out(place, folder, entry):
    (place / folder).mkdir(parents=True)
    (place / folder / "entry_points.txt").write_text(f"[gatewayd.test]\n{entry}\n")


def test_it_finds_what_the_standard_library_finds():
    groups = [group for group in entry_points().groups if group.startswith("gatewayd.")]
    standard = {(each.group, each.name, each.value) for group in groups for each in entry_points(group=group)}
    assert {(each.group, each.name, each.target) for each in installed()} == standard
    assert standard


def test_our_own_groups_are_there():
    assert {"sim", "local"} <= load_group("gatewayd.channels").keys()
