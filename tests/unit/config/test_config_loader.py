"""Variables, secrets, unavailable parts, flags, origins and the digest."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from config_rig import ENVIRON, SETTINGS, SimSettings, lines, loaded

from gatewayd.config.canonical import masked, render
from gatewayd.config.loader import Overrides
from gatewayd.config.problems import ConfigRefused
from gatewayd.core.errors import InvalidArgument, NotFound
from gatewayd.core.secret import Secret

AGENT = "agents: {a: {model: offline/assistant}}\n"
SIM = AGENT + "channels:\n  sim:\n    routing: {default: a}\n"


def test_F05_variables_are_put_into_text_and_never_read_again() -> None:
    text = "agents:\n  a:\n    model: offline/${M:-assistant}\n    role: ${X} $${X} $$ ${EMPTY:-none}${X}\n"

    agent = loaded(text, environ={"X": "<${PORT}>"}).config.agents["a"]

    assert agent.model == "offline/assistant"
    assert agent.role == "<${PORT}> ${X} $$ none<${PORT}>"


def test_a_variable_becomes_what_its_key_wants() -> None:
    text = 'gateway: {port: "${P}", strict: "${S}", drain_timeout: "${D:-7}"}\nagents: {a: {model: "${P}"}}\n'

    config = loaded(text, environ={"P": "99", "S": "true"}).config

    assert (config.gateway.port, config.gateway.strict, config.gateway.drain_timeout) == (99, True, 7.0)
    assert config.agents["a"].model == "99"


def test_the_value_of_a_variable_is_never_shown() -> None:
    printed = "\n".join(lines("gateway: {port: '${T}'}\n" + AGENT, environ={"T": "hunter2"}))

    assert "${T}" in printed
    assert "hunter2" not in printed


def test_F05_an_unset_variable_makes_its_part_unavailable_and_names_itself() -> None:
    text = SIM + "    token: ${NOPE}\n  needy: {token: '${NOPE2}', routing: {default: a}}\n"

    found = loaded(text)

    assert found.unavailable == {
        "channels.needy": "${NOPE2} is unset or empty: channels.needy.token in gateway.yaml:6",
        "channels.sim": "${NOPE} is unset or empty: channels.sim.token in gateway.yaml:5",
    }
    assert found.config.channels["sim"].settings == SimSettings()
    assert found.config.channels["needy"].settings is None


def test_F05_an_agent_may_be_unavailable_and_is_not_said_to_lack_a_model() -> None:
    found = loaded(
        "agents: {a: {model: '${NOPE}'}, b: {model: m, fallback_models: [x, '${NOPE}'], api_key: '${NO}'}}\n"
    )

    assert set(found.unavailable) == {"agents.a", "agents.b"}
    assert found.config.agents["b"].fallback_models == ()


def test_F05_an_unavailable_client_is_not_let_in_by_half_of_its_entry() -> None:
    text = AGENT + f"clients: {{c: {{token_sha256: {'a' * 64}, scopes: [admin.read, '${{NOPE}}']}}}}\n"

    found = loaded(text)

    assert set(found.unavailable) == {"clients.c"}
    assert found.config.clients == {}


def test_a_disabled_channel_is_checked_but_nothing_is_looked_up() -> None:
    text = "channels: {needy: {enabled: false, token: '${NOPE}', routing: {default: a}}}\n" + AGENT

    found = loaded(text)

    assert found.unavailable == {}
    assert found.config.channels["needy"].enabled is False
    assert any("unknown key" in line for line in lines(text.replace("token", "tokken")))


def test_F05_strict_turns_every_doubt_into_a_problem() -> None:
    text = SIM + "    token: ${NOPE}\n    app_token: literal\n"

    assert len(loaded(text).warnings) == 1
    assert len(lines("gateway: {strict: true}\n" + text)) == 2


@pytest.mark.parametrize(
    ("written", "token", "origin"),
    [
        ("${TOKEN}", "tok-from-environment", "environment TOKEN"),
        ("pre-${TOKEN}", "pre-tok-from-environment", "environment TOKEN"),
        ("file:/etc/secret", "tok-from-file", "file /etc/secret"),
        ("file:secret", "tok-from-file", "file conf/secret"),
        ("credential:secret", "tok-from-file", "credential secret"),
    ],
)
def test_a_secret_is_found_where_the_file_says(written: str, token: str, origin: str) -> None:
    found = loaded(SIM + f"    token: {written}\n", name="conf/gateway.yaml")

    settings = found.config.channels["sim"].settings
    assert isinstance(settings, SimSettings)
    assert settings.token == Secret(token)
    assert found.origins["channels.sim.token"] == origin
    assert found.secrets == (Secret(token),)
    assert not found.warnings


def test_the_value_of_a_variable_cannot_turn_into_a_path() -> None:
    found = loaded(SIM + "    token: ${T}\n", environ={"T": "file:/etc/secret"})

    assert found.secrets == (Secret("file:/etc/secret"),)


def test_F09_a_secret_in_the_file_is_warned_of_and_never_printed() -> None:
    found = loaded(SIM + "    token: abracadabra\n", world_readable=True)

    told = [str(warning) for warning in found.warnings]
    assert told[0].startswith("gateway.yaml: every user can read the secrets in it")
    assert told[1].startswith("gateway.yaml:5:12: channels.sim.token: a secret is written in the file")
    assert "abracadabra" not in render(found.config, found.origins) + json.dumps(masked(found.config)) + str(told)


def test_F09_an_open_secret_file_is_warned_of() -> None:
    found = loaded(SIM + "    token: file:/etc/open\n")

    assert [warning.hint for warning in found.warnings] == ["chmod 600 /etc/open"]


def test_a_missing_secret_file_makes_the_channel_unavailable() -> None:
    assert "cannot be read" in loaded(SIM + "    token: file:/nowhere\n").unavailable["channels.sim"]
    assert "not set" in loaded(SIM + "    token: credential:x\n", credentials_dir=None).unavailable["channels.sim"]


def test_flags_override_the_file_and_are_named_as_the_origin() -> None:
    text = "gateway: {host: 0.0.0.0, port: 1}\n" + AGENT

    found = loaded(text, overrides=Overrides(host="::1", port=0))

    assert (found.config.gateway.host, found.config.gateway.port) == ("::1", 0)
    assert found.origins["gateway.port"] == "flag --port"
    assert lines(AGENT, overrides=Overrides(host="10.0.0.1", port=70000)) == [
        "--host: gateway.host: 10.0.0.1 can be reached from other machines, and there is no TLS "
        "(give gateway.ssl_cert and ssl_key, or bind 127.0.0.1 or ::1)",
        "--port: gateway.port: 70000 is not a whole number from 0 to 65535",
    ]


def test_the_agents_of_a_second_file_are_merged_in() -> None:
    more = Overrides(agents_text=b"agents: {b: {model: offline/echo}}\n", agents_name="more.yaml")

    found = loaded(AGENT, overrides=more)

    assert set(found.config.agents) == {"a", "b"}
    assert found.origins["agents.b.model"] == "more.yaml:1"
    assert set(loaded(b"", overrides=more).config.agents) == {"b"}


def test_F04_an_agent_in_both_files_is_refused_with_both_places() -> None:
    twice = Overrides(agents_text=b"agents:\n  a: {model: m}\n", agents_name="more.yaml")

    assert lines(AGENT, overrides=twice) == [
        "more.yaml:2:3: agents.a: there are two agents a: the other is at gateway.yaml:1:10 (rename one of them)"
    ]


@pytest.mark.parametrize("text", [b"", b"a: {model: m}", b"- a", b"agents: {}\nclients: {}", b"agents: [a]"])
def test_a_second_file_that_holds_something_else_is_refused(text: bytes) -> None:
    (line,) = lines(AGENT, overrides=Overrides(agents_text=text, agents_name="more.yaml"))

    assert line.startswith("more.yaml:1:")


def test_the_digest_covers_the_secrets_and_nothing_that_is_mere_layout() -> None:
    text = SIM + "    token: ${TOKEN}\n"

    first = loaded(text)

    assert loaded("# other\n\n" + text).digest == first.digest
    assert loaded(text, environ={**ENVIRON, "TOKEN": "new"}).digest != first.digest
    assert loaded(text, environ={}).digest != first.digest
    assert loaded(text.replace("default: a", "dm: a")).digest != first.digest
    assert "tok-from-environment" not in first.digest


def test_no_agents_is_told_of() -> None:
    (warning,) = loaded("gateway: {port: 0}\n").warnings

    assert "nothing can answer" in warning.what


def test_what_config_show_prints_says_where_each_value_is_from() -> None:
    found = loaded(SIM + "    token: ${TOKEN}\n", overrides=Overrides(port=0))

    shown = render(found.config, found.origins)

    assert "  port: 0  # flag --port\n" in shown
    assert '  host: "127.0.0.1"  # default\n' in shown
    assert f'    token: "secret:{Secret("tok-from-environment").fingerprint}"  # environment TOKEN\n' in shown
    assert "      default: " in shown
    assert "tok-from-environment" not in shown
    # It is YAML again.
    assert loaded(shown.replace("port: 0", "port: 1")).config.gateway.port == 1


def test_a_client_is_read_with_one_digest_or_two_and_an_end() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    text = (
        AGENT
        + f"clients:\n  c: {{token_sha256: {digest.upper()}, scopes: admin.read, expires: 2030-01-31T12:00:00+02:00}}\n"
    )

    client = loaded(text).config.clients["c"]

    assert client.token_sha256 == (digest,)
    assert client.scopes == ("admin.read",)
    assert client.expires == datetime(2030, 1, 31, 10, tzinfo=UTC)


def test_an_adapter_that_cannot_be_loaded_is_a_problem_of_its_channel() -> None:
    def broken(platform: str) -> None:
        raise NotFound(f"the adapter of {platform} cannot be imported")

    assert lines(SIM, settings_for=broken) == [
        "gateway.yaml:3:3: channels.sim.platform: the adapter of sim cannot be imported"
    ]


def test_the_platform_is_the_lower_case_name_of_the_channel() -> None:
    channel = loaded("channels: {Local: {routing: {default: a}}}\n" + AGENT).config.channels["Local"]

    assert channel.platform == "local"
    assert isinstance(channel.settings, SETTINGS["local"])


def test_scopes_are_checked_by_whom_knows_them() -> None:
    def check(scope: str) -> None:
        raise InvalidArgument(f"no {scope}")

    text = AGENT + f"clients: {{c: {{token_sha256: {'a' * 64}, scopes: [x]}}}}\n"

    assert "clients.c.scopes[0]: no x" in lines(text, check_scope=check)[0]


def test_all_problems_leave_in_one_error_with_values() -> None:
    with pytest.raises(ConfigRefused) as refused:
        loaded("gateway: {prot: 1, port: x}\n")

    first, second = refused.value.problems
    assert first.as_dict() == {
        "file": "gateway.yaml",
        "line": 1,
        "col": 11,
        "path": "gateway.prot",
        "what": "unknown key",
        "hint": "did you mean port?",
    }
    assert [violation.field for violation in refused.value.violations] == ["gateway.prot", "gateway.port"]
    assert second.path == "gateway.port"
    assert refused.value.reason == "CONFIG_INVALID"


def test_relative_paths_of_secrets_start_in_the_folder_given() -> None:
    found = loaded(SIM + "    token: file:secret\n", folder=Path("/etc/gatewayd"))

    assert found.origins["channels.sim.token"] == "file /etc/gatewayd/secret"
