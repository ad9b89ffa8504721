"""How long the certificates of a configuration hold: refused when that is over, told of when it soon is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from gatewayd.config.loader import Loaded
from gatewayd.config.problems import ConfigRefused, Place, Problem, dotted, printable, problem_at
from gatewayd.config.tls import SOON, ends
from gatewayd.core.pem import Tls


def judged(loaded: Loaded, name: str, now: float) -> Loaded:
    """The same with a warning for each certificate that ends soon; `ConfigRefused` for one that does not hold now.

    `name` is how the configuration file is called, `now` in Unix seconds.
    """
    found = list(_look(loaded, name, now))
    if wrong := [problem for problem, is_fatal in found if is_fatal]:
        raise ConfigRefused(wrong)
    return replace(loaded, warnings=(*loaded.warnings, *(problem for problem, _ in found)))


def _look(loaded: Loaded, name: str, now: float) -> Iterator[tuple[Problem, bool]]:
    if (tls := loaded.config.gateway.tls) is not None and (why := _refusal(tls)):
        what = f"the listener does not take {printable(tls.cert.path, 200)}: {why}"
        yield (
            problem_at(Place(name), ("gateway", "ssl_cert"), what, "give certificates with keys and hashes of today"),
            True,
        )
    for path, file, begin, end in ends(loaded.config.gateway):
        shown, place = printable(file, 200), Place(name)
        if not begin <= now < end:
            what = f"the certificate in {shown} " + (f"ended {_day(end)}" if now >= end else f"begins {_day(begin)}")
            yield problem_at(place, path, what, "give one that holds now"), True
        elif end - now < SOON:
            days = int((end - now) // 86400)
            what = f"the certificate in {shown} ends in {days} days, {_day(end)}"
            yield problem_at(place, path, what, f"renew it, and reload: {dotted(path)} is read again"), False


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _refusal(tls: Tls) -> str:
    from gatewayd.http.tls import refusal  # noqa: PLC0415 - without TLS the library for it is not needed

    return refusal(tls)
