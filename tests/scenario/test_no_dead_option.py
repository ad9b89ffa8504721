"""No dead option: each key of gateway.yaml has a test that fails when the key is ignored, and here is which.

The table is complete by construction: it is compared with the models, and each test that it names must exist.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from gatewayd.channels.sim import SimSettings
from gatewayd.config.model import GatewayConfig
from gatewayd.config.section import Section, settings_of

TESTS = Path(__file__).parents[1]
_ROOMS, _FAULTS, _SENDS = "scenario/test_chat_rooms.py", "scenario/test_sim_faults.py", "scenario/test_sends.py"
_LINKS, _BOUNDS = "scenario/test_connections.py", "scenario/test_connection_bounds.py"
_ENDS = "scenario/test_connection_ends.py"
_SESSIONS, _ACCESS = "scenario/test_sessions.py", "scenario/test_access.py"
_TLS = "scenario/test_tls.py"
_PYTHON, _WORKERS = "scenario/test_python_agents.py", "scenario/workers/test_workers.py"
_HTTP = "scenario/test_http_listener.py"
_KEYS, _RULES = "scenario/test_keys.py", "unit/sessions/test_sessions_rules.py"
_RETENTION = f"{_KEYS}::test_every_bound_of_retention_reaches_the_store"
_AGENT = f"{_KEYS}::test_what_an_agent_is_reaches_its_model"
_IDLE = f"{_SESSIONS}::test_a_conversation_ends_when_it_was_idle_for_too_long"
_LISTEN = f"{_KEYS}::test_where_it_listens_and_who_gets_in_is_as_the_file_says"
_SCRIPTED = f"{_FAULTS}::test_a_network_of_the_channels_own_has_users_and_faults"
_PUSH, _RETRIES = "scenario/test_push_keys.py", "unit/push/test_push_retries.py"
_HOOKS = "scenario/test_webhooks.py"
_ENTRIES, _LIFE = "scenario/test_entry_points.py", "scenario/test_entry_points_life.py"
_GOALS, _REPORTED = "scenario/test_goals.py", "scenario/test_goals_reported.py"
_RECORD = "unit/runtime/test_runtime_goal_record.py"
_STARTED = "scenario/test_entry_points_events.py"
_GRAPHS, _WALK = "scenario/test_graphs.py", "unit/agents/test_graph_walk.py"
_SIM = "unit/channels/test_channel_sim.py"

PROOF = {
    "gateway.host": _LISTEN,
    "gateway.port": f"{_KEYS}::test_the_port_of_the_file_is_taken",
    "gateway.socket": _LISTEN,
    "gateway.auth_token": _LISTEN,
    "gateway.ssl_cert": f"{_TLS}::test_what_is_said_is_encrypted_and_the_listener_proves_who_it_is",
    "gateway.ssl_key": f"{_TLS}::test_F63_certificates_that_do_not_fit_leave_the_old_ones_serving",
    "gateway.ssl_client_ca": f"{_TLS}::test_with_an_authority_for_clients_a_token_alone_opens_nothing",
    "gateway.strict": f"{_KEYS}::test_strict_refuses_what_is_only_a_warning_otherwise",
    "gateway.max_connections": f"{_BOUNDS}::test_one_connection_more_than_allowed_is_told_to_wait",
    "gateway.max_sessions_per_agent": f"{_SESSIONS}::test_an_agent_with_all_its_conversations_tells_the_next_one",
    "gateway.heartbeat_interval": f"{_LINKS}::test_heartbeats_come_at_the_interval",
    "gateway.reconnect_timeout": f"{_ENDS}::test_after_reconnect_timeout_nothing_waits_any_more",
    "gateway.drain_timeout": f"{_KEYS}::test_a_drain_takes_no_longer_than_the_file_says",
    "gateway.http.host": f"{_HTTP}::test_host_and_port_are_the_files",
    "gateway.http.port": f"{_HTTP}::test_host_and_port_are_the_files",
    "gateway.http.max_body": f"{_HTTP}::test_every_refusal_has_one_shape",
    "gateway.http.origins": "scenario/test_websocket_hostile.py::test_pages_of_other_origins_stay_outside",
    "gateway.http.websocket": f"{_HTTP}::test_it_is_opened_only_if_a_door_behind_it_is",
    "gateway.session_config.timeout": _IDLE,
    "gateway.session_config.max_messages": _IDLE,
    "gateway.session_config.max_bytes": _IDLE,
    "gateway.session_config.persist": f"{_SESSIONS}::test_persist_decides_whether_a_restart_is_survived",
    "gateway.logging.level": f"{_KEYS}::test_the_log_is_as_loud_and_as_formed_as_the_file_says",
    "gateway.logging.format": f"{_KEYS}::test_the_log_is_as_loud_and_as_formed_as_the_file_says",
    "gateway.limits.message_bytes": f"{_BOUNDS}::test_a_message_that_is_too_large_is_refused",
    "gateway.limits.metadata_bytes": f"{_BOUNDS}::test_metadata_that_is_too_large_is_refused",
    "gateway.limits.streams_per_client": f"{_BOUNDS}::test_one_client_has_a_bound_of_open_calls",
    "gateway.limits.publish_rate": f"{_BOUNDS}::test_publishing_too_fast_is_refused_with_a_delay",
    "gateway.limits.send_rate": f"{_BOUNDS}::test_sending_too_fast_is_refused_with_a_delay",
    "gateway.limits.queue_bytes": f"{_BOUNDS}::test_a_buffer_is_never_larger_than_the_gateway_allows",
    "agents.*.timeout": f"{_SENDS}::test_the_agents_timeout_ends_its_answer",
    "agents.*.class": f"{_PYTHON}::test_a_python_agent_answers_with_its_options",
    "agents.*.options": f"{_PYTHON}::test_a_python_agent_answers_with_its_options",
    "agents.*.topics": "scenario/test_messaging.py::test_published_messages_reach_those_whose_topics_match",
    "agents.*.concurrency": "scenario/test_messaging_order.py::test_messages_are_handled_in_the_order_of_the_file",
    "agents.*.remote": f"{_WORKERS}::test_a_worker_answers_in_pieces",
    **{
        f"agents.*.{key}": _AGENT
        for key in (
            "instructions",
            "model",
            "fallback_models",
            "temperature",
            "max_tokens",
            "tools",
            "tool_choice",
            "base_url",
            "api_key",
            "role",
            "goal",
            "backstory",
            "max_steps",
            "greeting",
        )
    },
    "provider.model": _AGENT,
    "provider.base_url": _AGENT,
    "provider.api_key": _AGENT,
    "provider.retries": _AGENT,
    "provider.timeout": f"{_KEYS}::test_a_call_of_a_model_has_its_own_deadline",
    "clients.*.token_sha256": f"{_ACCESS}::test_both_tokens_of_a_rotation_work",
    "clients.*.scopes": f"{_ACCESS}::test_agents_send_names_the_agents",
    "clients.*.expires": f"{_ACCESS}::test_F59_an_expired_token_is_no_better_than_a_wrong_one",
    "channels.*.platform": f"{_ROOMS}::test_the_platform_defaults_to_the_channels_name",
    "channels.*.enabled": f"{_ROOMS}::test_a_disabled_channel_takes_nothing",
    "channels.*.routing": f"{_ROOMS}::test_a_direct_message_is_answered_where_it_was_said",
    "channels.*.group_policy": f"{_ROOMS}::test_respond_all_answers_everything",
    "channels.*.session_scope": f"{_SESSIONS}::test_per_chat_shares_the_room",
    "channels.*.session.reset": f"{_RULES}::test_reset_none_keeps_it",
    "channels.*.session.idle_minutes": f"{_RULES}::test_reset_idle_has_minutes_of_its_own",
    "channels.*.session.at_hour": f"{_RULES}::test_reset_daily_is_at_its_hour",
    "channels.*.busy_mode": f"{_SESSIONS}::test_interrupt_ends_the_running_answer",
    "channels.*.rate_limit": f"{_FAULTS}::test_rate_limit_spaces_what_is_sent",
    "channels.*.max_message_length": f"{_ROOMS}::test_a_long_answer_is_split_and_arrives_in_order",
    "channels.*.ambiguous": f"{_FAULTS}::test_F80_an_ambiguous_send_is_sent_again_where_that_is_chosen",
    "runtime.execution_log": "scenario/test_steps.py::test_an_execution_keeps_a_log_of_its_own",
    "runtime.checkpoints.max_age_days": "unit/daemon/test_expiry.py::test_upkeep_fails_what_rests_for_too_long",
    **{
        f"runtime.checkpoints.{key}": "scenario/test_steps.py::test_the_file_says_which_checkpoints_are_written"
        for key in ("enabled", "on_node_start", "on_node_complete", "max_count")
    },
    "runtime.max_concurrent_executions": f"{_LIFE}::test_the_higher_priority_goes_first_and_so_many_run_at_once",
    **{
        f"runtime.{key}": f"{_LIFE}::test_results_are_kept_as_long_as_the_file_says"
        for key in ("execution_result_max", "execution_result_ttl_seconds")
    },
    **{
        f"entry_points.*.{key}": f"{_ENTRIES}::test_the_entry_points_and_their_figures_can_be_read"
        for key in ("name", "agent", "trigger")
    },
    **{
        f"entry_points.*.{key}": "scenario/test_entry_points_answers.py::"
        "test_the_answer_of_an_entry_point_is_sent_to_its_chat"
        for key in ("channel", "channel_id")
    },
    "entry_points.*.goal": f"{_REPORTED}::test_gatewayctl_shows_goals_and_who_has_them",
    "entry_points.*.isolation_level": "scenario/test_isolation.py::test_an_entry_point_says_what_its_executions_share",
    **{
        f"goals.*.{key}": f"{_GOALS}::test_what_an_agent_reports_and_how_executions_end_is_the_progress"
        for key in ("description", "criteria.id", "criteria.description", "criteria.target", "criteria.weight")
    },
    "goals.*.criteria.measure": f"{_GOALS}::test_failures_and_calls_of_tools_are_measured_by_themselves",
    **{
        f"goals.*.constraints.{key}": f"{_GOALS}::test_a_hard_violation_is_told_and_asks_for_an_adjustment"
        for key in ("id", "description", "kind")
    },
    "goals.*.window": f"{_REPORTED}::test_many_reports_at_once_all_count",
    "goals.*.min_outcomes": f"{_RECORD}::test_a_share_of_too_few_outcomes_is_not_met",
    "entry_points.*.priority": f"{_LIFE}::test_the_higher_priority_goes_first_and_so_many_run_at_once",
    "entry_points.*.max_concurrent": f"{_ENTRIES}::test_what_runs_and_what_waits_is_cancelled_and_every_waiter_wakes",
    **{
        f"entry_points.*.trigger_config.{key}": f"{_STARTED}::"
        "test_an_event_starts_one_execution_that_is_given_the_event"
        for key in ("event_types", "filter_stream", "filter_node", "filter_topic", "topic", "source_id")
    },
    "entry_points.*.trigger_config.include_own": f"{_STARTED}::"
    "test_an_entry_point_does_not_start_itself_unless_it_is_told_to",
    "entry_points.*.trigger_config.channel": f"{_STARTED}::"
    "test_a_message_on_a_channel_starts_an_entry_point_beside_its_agent",
    **{
        f"entry_points.*.trigger_config.{key}": f"{_STARTED}::test_a_timer_starts_in_time"
        for key in ("cron", "interval_minutes", "timezone", "run_immediately")
    },
    "agents.*.graph": f"{_GRAPHS}::test_an_agent_can_be_a_graph_with_a_timeout_of_its_own",
    **{
        f"{key}": f"{_GRAPHS}::test_the_way_is_chosen_by_what_is_known_and_the_last_node_answers"
        for key in (
            "entry_points.*.graph",
            "entry_points.*.entry_node",
            "graphs.*.description",
            "graphs.*.timeout",
            *(f"graphs.*.nodes.*.{key}" for key in ("kind", "agent", "tool", "prompt", "arguments")),
            *(f"graphs.*.edges.{key}" for key in ("from", "to", "when")),
        )
    },
    **{
        f"graphs.*.{key}": f"{_GRAPHS}::"
        "test_a_node_waits_for_people_over_a_restart_and_each_execution_gets_its_own_input"
        for key in ("entry_node", "nodes.*.client_facing", "nodes.*.input")
    },
    **{
        f"graphs.*.nodes.*.{key}": f"{_GRAPHS}::test_a_node_is_tried_as_often_as_the_file_says_with_one_key"
        for key in ("function", "retries")
    },
    "graphs.*.nodes.*.max_iterations": f"{_WALK}::test_each_iteration_is_told_and_too_many_end_it",
    **{
        f"graphs.*.nodes.*.{key}": f"{_WALK}::test_a_node_that_takes_too_long_fails_and_one_that_is_silent_is_told_of"
        for key in ("timeout", "stall_timeout")
    },
    "storage.url": f"{_KEYS}::test_the_store_is_where_and_as_safe_as_the_file_says",
    "storage.durability": f"{_KEYS}::test_the_store_is_where_and_as_safe_as_the_file_says",
    **{
        f"storage.retention.{table}.{bound}": _RETENTION
        for table in (
            "sessions",
            "executions",
            "inbox",
            "outbox",
            "ledger",
            "seen",
            "audit",
            "dead_letters",
            "push_dead_letters",
        )
        for bound in ("max_age", "max_count", "max_bytes")
    },
    "push.enabled": f"{_PUSH}::test_a_reload_turns_push_on_and_off_and_what_is_kept_stays",
    **{
        f"push.{key}": f"{_PUSH}::test_every_bound_holds_from_the_reload_on"
        for key in ("max_topics", "max_members", "max_joined", "max_clients", "max_metadata", "polling.max_clients")
    },
    **{
        f"push.{key}": f"{_PUSH}::test_what_may_wait_is_as_the_file_says"
        for key in ("delivery.max_pending", "delivery.max_pending_bytes", "polling.queue", "polling.batch")
    },
    **{
        f"push.{key}": f"{_PUSH}::test_times_are_as_the_file_says"
        for key in ("presence.heartbeat_interval", "polling.wait", "delivery.message_ttl")
    },
    "push.presence.offline_timeout": "scenario/test_push_presence_told.py::"
    "test_a_connection_that_breaks_counts_as_there_until_the_timeout",
    "push.presence.min_interval": "unit/push/test_push_presence.py::"
    "test_F82_somebody_who_flaps_costs_one_change_in_each_interval",
    **{
        f"push.delivery.{key}": "scenario/test_push_delivery.py::"
        "test_what_is_never_acknowledged_becomes_a_dead_letter_that_can_be_read"
        for key in ("ack_timeout", "max_retries")
    },
    "push.delivery.retry_backoff": f"{_RETRIES}::"
    "test_what_is_not_acknowledged_comes_again_three_times_with_twice_the_time_and_is_then_given_up",
    "push.delivery.membership_ttl": f"{_RETRIES}::test_a_member_that_stays_away_for_too_long_is_one_no_more",
    "push.delivery.queue": "unit/push/test_push_members.py::test_a_slow_reader_loses_the_oldest_and_is_told_how_many",
    **{
        f"webhooks.*.{key}": f"{_HOOKS}::{name}"
        for key, name in (
            ("path", "test_paths_come_change_and_go_while_it_runs"),
            ("methods", "test_standard_webhooks_are_taken_with_any_of_several_signatures"),
            ("secret", "test_both_secrets_work_while_one_replaces_another"),
            ("scheme", "test_F55_what_is_not_signed_rightly_is_401_and_no_event"),
            ("insecure_no_secret", "test_a_webhook_without_a_secret_is_for_this_machine_alone"),
        )
    },
    "push.polling.http": "scenario/test_push_http.py::test_polling_is_served_over_http_only_where_the_file_says_so",
    "bus.history.max_events": "scenario/events/test_events_kept.py::"
    "test_F51_history_that_is_no_longer_kept_is_told_with_the_oldest_place",
    "bus.handler_concurrency": "scenario/test_handlers.py::test_so_many_run_at_once_and_a_reload_holds_at_once",
    "bus.history.max_age": f"{_KEYS}::test_every_bound_of_history_reaches_the_store",
    "bus.history.max_bytes": f"{_KEYS}::test_every_bound_of_history_reaches_the_store",
}
SIM_PROOF = {
    "token": f"{_FAULTS}::test_a_refused_token_makes_its_channel_failed_and_no_other",
    "server": f"{_ROOMS}::test_a_direct_message_is_answered_where_it_was_said",
    "account": f"{_ROOMS}::test_the_bots_own_name_is_shown",
    "idempotent_send": f"{_FAULTS}::test_F80_a_platform_that_knows_the_key_shows_a_resend_once",
    **{
        f"script.{key}": f"{_SIM}::test_users_say_their_script_in_time"
        for key in ("from", "text", "chat", "context", "after", "mentioned")
    },
    "script.thread": f"{_ROOMS}::test_the_platform_defaults_to_the_channels_name",
    "faults.conflict": f"{_FAULTS}::test_F70_a_409_is_told_waited_out_and_heals",
    **{
        f"faults.{key}": _SCRIPTED
        for key in (
            "rate_limit",
            "retry_after",
            "duplicates",
            "reorder",
            "disconnects",
            "disconnects_sending",
            "slow",
            "reject",
        )
    },
}


def keys_of(model: type[Section], path: str = "", without: tuple[str, ...] = ()) -> Iterator[str]:
    """Every key that somebody may write, `*` standing for a name and nothing for the place in a list."""
    for name, field in settings_of(model).items():
        if name in without:
            continue
        here = f"{path}{field.key}"
        section = _section_in(field.annotation)
        if section is None:
            yield here
        else:
            named = ".*." if getattr(field.annotation, "__origin__", None) is dict else "."
            yield from keys_of(section, here + named, without)


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for each in get_args(annotation) if (found := _section_in(each)) is not None), None)


def test_the_table_has_every_key_and_no_other() -> None:
    """A key that is added without a test, or taken away, fails here."""
    assert set(PROOF) == set(keys_of(GatewayConfig, without=("settings",)))


def test_the_table_has_every_key_of_the_simulated_platform() -> None:
    """The keys of an adapter are options like any other."""
    assert set(SIM_PROOF) == set(keys_of(SimSettings))


@pytest.mark.parametrize("place", sorted({*PROOF.values(), *SIM_PROOF.values()}))
def test_the_test_that_is_named_is_there(place: str) -> None:
    """A test that is renamed or removed takes its key's proof with it."""
    file, _, name = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())

    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
