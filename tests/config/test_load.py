"""What a user sees of a run config: values that arrive, and mistakes that are answered with place and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from framework.config.load import LoadedConfig, load, plain
from framework.errors import ConfigError, NotBuiltYet

MINIMAL = """\
name: t
mode: backtest
start: 2005-01-03
end: 2005-02-01
data_source: {name: sample}
portfolios:
  - id: "1"
    cash: 1000
    tickers: [AAPL]
    strategy: {name: s, params: {fast: 2}}
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a config in the working folder; errors then say ``c.yaml:LINE``."""
    monkeypatch.chdir(tmp_path)

    def make(text: str) -> Path:
        Path("c.yaml").write_text(text, encoding="utf-8")
        return Path("c.yaml")

    return make


def refused(path: Path, *overrides: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, environment or {})
    return str(caught.value)


def loaded(path: Path, *overrides: str, **environment: str) -> LoadedConfig:
    return load(path, overrides, environment)


def test_the_smallest_config_gets_the_documented_defaults(write: Write) -> None:
    config = loaded(write(MINIMAL)).config
    assert (config.start, config.end) == (date(2005, 1, 3), date(2005, 2, 1))
    assert (config.interval, config.calendar, config.adjust, config.database.url) == ("1d", "XNYS", "all", "embedded")
    assert (config.database.pool.min, config.database.pool.max, config.broker.name) == (1, 6, "simulated")
    portfolio = config.portfolios[0]
    assert (portfolio.lots, portfolio.schedule, portfolio.cash_buffer) == ("whole", "every_bar", 0.005)
    assert (portfolio.currency, portfolio.fill, portfolio.short, portfolio.lookback) == ("USD", "next_open", False, 250)


def test_the_demo_config_is_valid() -> None:
    demo = Path(__file__).parents[2] / "configs" / "demo.yaml"
    found = loaded(demo)
    assert [portfolio.strategy.name for portfolio in found.config.portfolios] == [
        "sma_cross",
        "momentum",
        "buy_and_hold",
    ]
    assert found.config.broker.params["commission"] == {"name": "percent", "rate": 0.0005}


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        ("cash: 1000", "cahs: 1000", "c.yaml:8: portfolios.0.cahs: is not a key here; did you mean 'cash'?"),
        ("name: t\n", "", "c.yaml:1: name: is required and missing"),
        ("start: 2005-01-03", "start: 2005-02-30", "c.yaml:3: start: was '2005-02-30'; is not a date"),
        ("start: 2005-01-03", "start: 2005", "c.yaml:3: start: was 2005; must be a date written YYYY-MM-DD"),
        ("start: 2005-01-03", "start: 3/1/2005", "c.yaml:3: start: was '3/1/2005'; must be a date written YYYY-MM-DD"),
        ("start: 2005-01-03", "start: 2005-03-01", "c.yaml:4: end: 2005-02-01 is before start (2005-03-01)"),
        ("end: 2005-02-01\n", "", "c.yaml:1: end: is required in mode backtest"),
        ("cash: 1000", "cash: lots", "c.yaml:8: portfolios.0.cash: was 'lots'; input should be a valid number"),
        ("cash: 1000", "cash: true", "c.yaml:8: portfolios.0.cash: was True; must be a number"),
        ("cash: 1000", "cash: -5", "c.yaml:8: portfolios.0.cash: was -5; input should be greater than or equal to 0"),
        ("cash: 1000", "cash: 1e999", "c.yaml:8: portfolios.0.cash: was inf; input should be a finite number"),
        ("    cash: 1000\n", "", "c.yaml:7: portfolios.0: needs `cash:`, its opening deposit"),
        ('id: "1"', 'id: "0"', "c.yaml:7: portfolios.0.id: '0' is the master account"),
        ('id: "1"', 'id: "../x"', "c.yaml:7: portfolios.0.id: was '../x'; allowed: letters"),
        ('id: "1"', 'id: "summary.json"', "c.yaml:7: portfolios.0.id: was 'summary.json'; allowed: letters"),
        ("name: t", "name: a/b", "c.yaml:1: name: was 'a/b'; allowed: letters"),
        ("[AAPL]", "[AAPL, IBM, AAPL]", "c.yaml:9: portfolios.0.tickers.2: 'AAPL' is listed 2 times"),
        ("[AAPL]", "[]", "c.yaml:9: portfolios.0.tickers: was []; needs at least one entry"),
        ("[AAPL]", "AAPL", "c.yaml:9: portfolios.0.tickers: was 'AAPL'; allowed: a list"),
        ("[AAPL]", "[USD_CASH]", "c.yaml:9: portfolios.0.tickers.0: was 'USD_CASH'"),
        ("[AAPL]", "['A B']", "c.yaml:9: portfolios.0.tickers.0: was 'A B'"),
        ("params: {fast: 2}", "fast: 2", "parameters of a plugin go under `params:`"),
        ("{name: sample}", "{nmae: sample}", "c.yaml:5: data_source.nmae: is not a key here; did you mean 'name'?"),
        ("{name: sample}", "[sample]", "data_source: was ['sample']; allowed: a mapping with the keys name, params"),
        ("cash: 1000", "cash: 1000\n    schedule: hourly", "schedule: was 'hourly'; allowed: every_bar, daily"),
        ("cash: 1000", "cash: 1000\n    short: yes", "c.yaml:9: portfolios.0.short: was 'yes'"),
        ("cash: 1000", "cash: 1000\n    cash: 2", "c.yaml:9: portfolios.0.cash: is written twice (first in line 8)"),
        ("cash: 1000", "cash: !!python/object/apply:os.system ['true']", "c.yaml:8: portfolios.0.cash: tag"),
        ("cash: 1000", "cash: *nowhere", "c.yaml:8: is not valid YAML: found undefined alias"),
        ("cash: 1000", "<<: {cash: 3}", "c.yaml:8: portfolios.0: merge keys (<<) are not supported"),
        ("cash: 1000", "cash: [1", "is not valid YAML"),
        ("cash: 1000", "cash: &a [*a]", "is an alias of something that contains it"),
        ("mode: backtest", "mode: backtest\ndatabase: {url: mysql://h/d}", "c.yaml:3: database.url: was 'mysql://h/d'"),
        ("mode: backtest", "mode: backtest\ndatabase: {pool: {min: 9, max: 2}}", "database.pool: min (9) is above max"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_place_and_remedy(write: Write, old: str, new: str, answer: str) -> None:
    assert old in MINIMAL
    assert answer in refused(write(MINIMAL.replace(old, new)))


def test_duplicate_ids_are_named(write: Write) -> None:
    second = MINIMAL.partition("portfolios:\n")[2]
    answer = refused(write(MINIMAL + second))
    assert answer == "c.yaml:11: portfolios.1.id: '1' is used twice; every portfolio needs an id of its own"


def test_all_mistakes_of_a_file_come_at_once(write: Write) -> None:
    text = MINIMAL.replace("mode:", "mdoe:").replace("cash:", "cahs:").replace("[AAPL]", "[]")
    lines = refused(write(text)).splitlines()
    assert [": ".join(line.split(": ")[:2]) for line in lines] == [
        "c.yaml:1: mode",
        "c.yaml:2: mdoe",
        "c.yaml:8: portfolios.0.cahs",
        "c.yaml:9: portfolios.0.tickers",
    ]


def test_at_most_ten_mistakes_are_listed(write: Write) -> None:
    lines = refused(write(MINIMAL + "".join(f"extra{number}: 1\n" for number in range(14)))).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "… and 4 more"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"", "holds nothing"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"just text", "must be a mapping"),
        (b"name: \xff\xfe\n", "c.yaml:1: is not UTF-8 text (byte 0xff)"),
        (b"name: \x00\n", "is not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "is not valid YAML: expected a single document"),
        (b"[" * 5000, "nested too deeply"),
        ("name: \ue000".encode(), "private-use character U+E000"),
        (b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
            b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(8)
        ), "has more than 100,000 values"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, raw: bytes, answer: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(raw)
    assert answer in refused(path)


def test_a_missing_file_names_the_nearest_one(write: Write) -> None:
    write(MINIMAL).rename("demo.yaml")
    assert "there is no config 'dmeo.yaml'; did you mean 'demo.yaml'?" in refused(Path("dmeo.yaml"))
    assert "there is no config 'nowhere/x.yaml'; `engine init`" in refused(Path("nowhere/x.yaml"))
    assert "cannot be read: Is a directory" in refused(Path())


def test_words_that_other_yaml_readers_change_stay_words(write: Write) -> None:
    portfolio = loaded(write(MINIMAL.replace("[AAPL]", "[ON, NO, Y, 0700, 7203, BRK.B]"))).config.portfolios[0]
    assert portfolio.tickers == ("ON", "NO", "Y", "0700", "7203", "BRK.B")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), ("1e-3", 0.001), ("-.5", -0.5), ("010", "010"), ("1:30", "1:30"), ("~", None), ("True", True),
     ("yes", "yes"), (".", "."), ("e5", "e5"), ("1.2.3", "1.2.3"), ("9" * 40, "9" * 40), ("+7", 7)],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


@given(st.one_of(st.integers(-(10**15), 10**15), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive_as_written(number: float) -> None:
    assert plain(repr(number)) == number


# --- the environment -----------------------------------------------------------------------------------------------


def test_env_is_filled_in_even_in_a_flow_mapping(write: Write) -> None:
    text = MINIMAL.replace("{name: sample}", "{name: fmp, params: {api_key: ${KEY}, url: 'x/${A}/${B}', n: ${N}}}")
    found = loaded(write(text), KEY="0123456", A="a", B="b", N="5")
    assert found.config.data_source.params == {"api_key": "0123456", "url": "x/a/b", "n": "5"}


def test_env_can_give_a_number(write: Write) -> None:
    assert loaded(write(MINIMAL.replace("1000", "${CASH}")), CASH="250").config.portfolios[0].cash == 250.0


def test_a_doubled_dollar_stands_for_itself(write: Write) -> None:
    text = MINIMAL.replace("{fast: 2}", "{a: '$${HOME}', b: '$${', c: 'US$', d: '$$'}")
    params = loaded(write(text), HOME="h").config.portfolios[0].strategy.params
    assert params == {"a": "${HOME}", "b": "${", "c": "US$", "d": "$$"}


def test_an_unset_variable_is_named_with_its_place(write: Write) -> None:
    text = MINIMAL.replace("{name: sample}", "{name: fmp, params: {api_key: ${FMP_API_KEY}}}")
    assert refused(write(text)).startswith(
        "c.yaml:5: data_source.params.api_key: environment variable FMP_API_KEY is not set; set it"
    )


def test_an_unset_variable_in_a_comment_does_not_matter(write: Write) -> None:
    assert loaded(write("# ${NOT_SET}\n" + MINIMAL)).config.name == "t"


def test_a_malformed_reference_is_refused(write: Write) -> None:
    assert "malformed reference" in refused(write(MINIMAL.replace("name: t", "name: '${1x}'")))


def test_an_error_shows_the_reference_and_never_its_value(write: Write) -> None:
    answer = refused(write(MINIMAL.replace("1000", "${CASH}")), environment={"CASH": "hunter2-hunter2"})
    assert "portfolios.0.cash: was '${CASH}'" in answer
    assert "hunter2" not in answer


def test_an_error_never_shows_a_secret(write: Write) -> None:
    text = MINIMAL.replace("{name: sample}", "{name: fmp, api_key: hunter2}").replace(
        "mode: backtest", "mode: backtest\ndatabase: {url: 'mysql://u:hunter2@h/d'}"
    )
    answer = refused(write(text))
    assert "data_source.api_key" in answer
    assert "mysql://u:***@h/d" in answer
    assert "hunter2" not in answer


def test_the_resolved_config_holds_no_secret(write: Write) -> None:
    params = "{api_key: hunter2x, key_id: hunter2y, base_url: 'https://u:hunter2z@h/?apikey=hunter2w', n: ${PLAIN}}"
    text = MINIMAL.replace("{name: sample}", f"{{name: fmp, params: {params}}}")
    found = loaded(write(text), "database.url=postgresql://me:hunter2@host/db", PLAIN="hunter2v")
    shown = json.dumps(found.resolved)
    assert "hunter2" not in shown
    assert found.resolved["data_source"]["params"] == {
        "api_key": "***",
        "key_id": "***",
        "base_url": "https://u:***@h/?apikey=***",
        "n": "${PLAIN}",
    }
    assert found.resolved["database"]["url"] == "postgresql://me:***@host/db"
    assert found.config.database.url == "postgresql://me:hunter2@host/db"
    text = found.redact("failed: hunter2x and hunter2v at postgresql://me:hunter2@host/db")
    assert text == "failed: *** and ${PLAIN} at postgresql://me:***@host/db"


def test_the_resolved_config_has_every_default_and_the_overrides(write: Write) -> None:
    resolved = loaded(write(MINIMAL), "cash=5").resolved
    assert resolved["portfolios"][0]["cash"] == 5.0
    assert resolved["portfolios"][0]["cash_buffer"] == 0.005
    assert resolved["start"] == "2005-01-03"


def test_database_url_stands_in_where_the_config_names_none(write: Write) -> None:
    url = "postgresql://u:hunter2@h/d"
    assert loaded(write(MINIMAL), DATABASE_URL=url).config.database.url == url
    assert loaded(write(MINIMAL), DATABASE_URL=url).resolved["database"]["url"] == "${DATABASE_URL}"
    named = write(MINIMAL + "database: {url: embedded}\n")
    assert loaded(named, DATABASE_URL=url).config.database.url == "embedded"
    answer = refused(write(MINIMAL), environment={"DATABASE_URL": "hunter2"})
    assert answer.startswith("environment: database.url: was '${DATABASE_URL}'")


# --- overrides -----------------------------------------------------------------------------------------------------

TWO = MINIMAL + MINIMAL.partition("portfolios:\n")[2].replace('"1"', '"tech"')


def test_overrides_reach_lists_by_index_and_by_id(write: Write) -> None:
    found = loaded(write(TWO), "portfolios.0.cash=5", "portfolios.tech.cash=6", "portfolios.1.lots=fractional")
    assert [portfolio.cash for portfolio in found.config.portfolios] == [5.0, 6.0]
    assert [portfolio.lots for portfolio in found.config.portfolios] == ["whole", "fractional"]


def test_a_key_of_a_portfolio_alone_means_all_of_them(write: Write) -> None:
    found = loaded(write(TWO), "strategy.params.fast=9", "tickers=[IBM, MSFT]")
    assert [portfolio.strategy.params for portfolio in found.config.portfolios] == [{"fast": 9}] * 2
    assert [portfolio.tickers for portfolio in found.config.portfolios] == [("IBM", "MSFT")] * 2


def test_overrides_make_the_sections_they_need(write: Write) -> None:
    found = loaded(write(MINIMAL), "broker.name=simulated", "broker.params.commission.rate=0.1", "database.pool.max=3")
    assert found.config.broker.params == {"commission": {"rate": 0.1}}
    assert found.config.database.pool.max == 3
    assert found.locate("broker.params.commission") == "--set"
    assert found.locate("portfolios.0.strategy.params") == "c.yaml:10"


def test_a_number_is_a_position_and_never_an_id(write: Write) -> None:
    assert "portfolios has no entry '2' (allowed: 0 to 1, or an id: tech)" in refused(write(TWO), "portfolios.2.cash=5")
    assert "did you mean 'tech'?" in refused(write(TWO), "portfolios.tecj.cash=5")
    numbered = MINIMAL.replace('id: "1"', "id: 2010")
    assert loaded(write(numbered)).config.portfolios[0].id == "2010"
    assert "has no entry '2010' (allowed: 0 to 0)" in refused(write(numbered), "portfolios.2010.cash=5")


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("cash", "--set: 'cash' is not an override; write key.path=value"),
        ("=5", "--set: '' is not an override"),
        ("a..b=5", "--set: 'a..b' is not an override"),
        ("cash=", "--set: 'cash' has no value"),
        ("portfolios.7.cash=5", "--set: portfolios has no entry '7' (allowed: 0 to 0)"),
        ("portfolios.-1.cash=5", "--set: portfolios has no entry '-1'"),
        ("portfolios.x.cash=5", "--set: portfolios has no entry 'x'"),
        ("mode.x=5", "--set: mode is a single value, so mode.x cannot be set"),
        ("mdoe=live", "--set: mdoe: is not a key here; did you mean 'mode'?"),
        ("cash=[1", "--set: is not valid YAML"),
        ("cash=none", "--set: portfolios.0.cash: was 'none'; input should be a valid number"),
        ("calendar=${NOPE}", "--set: calendar: environment variable NOPE is not set"),
        ("portfolios=5", "--set: portfolios: was 5; allowed: a list"),
        ("portfolios.0=5", "--set: portfolios.0: was 5; allowed: a mapping"),
        (
            "schedule=hourly",
            "--set: portfolios.0.schedule: was 'hourly'; allowed: every_bar, daily, weekly, monthly, or",
        ),
        ("schedule='5 16 * *'", "--set: portfolios.0.schedule: was '5 16 * *'; has 4 fields; cron text has five"),
        ("schedule='5 25 * * *'", "--set: portfolios.0.schedule: was '5 25 * * *'; is not cron text: its field hour"),
        ("schedule='0 0 31 2 *'", "--set: portfolios.0.schedule: was '0 0 31 2 *'; is not cron text: its field day-of"),
    ],
)
def test_a_wrong_override_is_refused(write: Write, override: str, answer: str) -> None:
    assert refused(write(MINIMAL), override).startswith(answer)


def test_an_override_of_a_broken_file_still_names_the_files_mistake(write: Write) -> None:
    answer = refused(write("name: t\n"), "cash=5", "portfolios.0.x=3")
    assert "c.yaml:1: mode: is required and missing" in answer
    assert "--set: portfolios: was {'0': {'x': 3}}; allowed: a list" in answer


# --- not built yet -------------------------------------------------------------------------------------------------


def test_portfolios_in_several_currencies_have_no_report_yet_but_may_trade(write: Write) -> None:
    with pytest.raises(NotBuiltYet, match=r"portfolios\.1\.currency: one report of portfolios in several currencies"):
        loaded(write(TWO), "portfolios.tech.currency=EUR")
    both = ("portfolios.0.currency=EUR", "portfolios.1.currency=EUR")
    assert {each.currency for each in loaded(write(TWO), *both).config.portfolios} == {"EUR"}
    apart = ("mode=paper", "broker=paper", "portfolios.tech.currency=EUR")
    assert len({each.currency for each in loaded(write(TWO), *apart).config.portfolios}) == 2


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("mode=live", "--set: mode: mode 'live' (there are: backtest, replay, paper) — not in this version yet"),
        (
            "allocator={name: daily, schedule: 0 12 * * 1-5}",
            "--set: allocator.schedule: cron text for allocators (there are: every_bar, daily, weekly, monthly)",
        ),
        ("short=true", "--set: portfolios.0.short: short selling"),
        ("margin={initial: 0.5}", "--set: portfolios.0.margin: margin"),
        ("fill=next_close", "--set: portfolios.0.fill: fill 'next_close' (there is: next_open)"),
        ("broker={name: alpaca, account: A1}", "--set: broker.account: broker accounts"),
    ],
)
def test_documented_parts_that_are_missing_say_so(write: Write, override: str, answer: str) -> None:
    with pytest.raises(NotBuiltYet) as caught:
        load(write(MINIMAL), [override], {})
    assert str(caught.value).startswith(answer)


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("flows=[{amount: 5}]", "needs either `date:` or `every:`"),
        ("allocator={name: daily, floors: {x: 0.5}}", "--set: allocator.floors.x: there is no portfolio 'x'"),
        ("allocator={name: daily, caps: {'1': 1.5}}", "--set: allocator.caps.1: was 1.5"),
        (
            "allocator={name: daily, caps: {'1': 0.5}, floors: {'1': 0.6}}",
            "--set: allocator.floors.1: 0.6 is above its cap (0.5)",
        ),
        (
            "flows=[{amount: 1, every: week, reference: a}, {amount: 1, every: year, reference: a}]",
            "--set: portfolios.0.flows.0.reference: 'a' is used twice",
        ),
        (
            "flows=[{amount: 1, every: week}, {amount: 1, every: week, reference: flow 1}]",
            "--set: portfolios.0.flows.1.reference: 'flow 1' is used twice",
        ),
        (
            "allocator={name: daily, wait_seconds: 90}",
            "--set: allocator.wait_seconds: 90 is above engine.decision_seconds",
        ),
        ("master={cash: 5}", "--set: master: needs an `allocator:`, or its money would never be used"),
        ("flows=[{amount: 0, every: month}]", "amount is 0"),
        ("margin={initial: 7}", "margin.initial: was 7; input should be less than or equal to 1"),
    ],
)
def test_what_is_missing_is_still_checked_for_shape(write: Write, override: str, answer: str) -> None:
    assert answer in refused(write(MINIMAL), override)


# --- plugin folders ------------------------------------------------------------------------------------------------


def test_plugin_folders_are_found_beside_the_config_in_the_working_folder_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("cfg/plugins", "cfg/mine", "here/plugins"):
        (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / "cfg" / "c.yaml"
    path.write_text(MINIMAL + "plugin_dirs: [mine, plugins]\n")
    monkeypatch.chdir(tmp_path / "here")
    found = loaded(path).plugin_dirs()
    assert found == tuple(tmp_path / name for name in ("cfg/plugins", "here/plugins", "cfg/mine"))


def test_a_plugin_folder_that_is_not_there_is_an_error(write: Write) -> None:
    found = loaded(write(MINIMAL + "plugin_dirs: [nope]\n"))
    with pytest.raises(ConfigError, match=r"^c\.yaml:11: plugin_dirs\.0: there is no folder 'nope'"):
        found.plugin_dirs()


# --- whatever is thrown at it --------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["name", "mode", "start", "end", "data_source", "portfolios", "broker", "database", "report", "allocator",
     "plugin_dirs", "plugins", "calendar", "interval", "adjust"]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(_KEYS, _JSON, max_size=5))
def test_no_value_of_any_key_crashes_the_reader(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(MINIMAL + "".join(f"{key}: {json.dumps(value)}\n" for key, value in changes.items()))
    with suppress(ConfigError, NotBuiltYet):
        load(path, (), {})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=_KEYS, value=_JSON, portfolio=st.booleans())
@example(key="data_source", value={"\x1e": None}, portfolio=False)
def test_any_single_value_is_taken_or_refused_with_its_place(
    tmp_path: Path, key: str, value: object, portfolio: bool
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(MINIMAL)
    target = f"portfolios.0.{key}" if portfolio else key
    answer = ""
    try:
        load(path, [f"{target}={json.dumps(value)}"], {})
    except (ConfigError, NotBuiltYet) as error:
        answer = str(error)
    assert all(line.startswith(("--set", "…", str(path))) for line in answer.splitlines())


def test_what_is_done_with_wrong_bars_is_set_by_code(write: Write) -> None:
    config = loaded(write(MINIMAL + "quality: {spike: quarantine, price not positive: refuse}\n")).config
    assert config.quality == {"spike": "quarantine", "price not positive": "refuse"}
    assert loaded(write(MINIMAL), "quality.stale=refuse").config.quality == {"stale": "refuse"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{spyke: warn}", "there is no code 'spyke'; did you mean 'spike'?"),
        ("{spike: drop}", "'spike' cannot be 'drop'; allowed: warn or quarantine or refuse"),
        ("{missing session: refuse}", "'missing session' cannot be 'refuse'; allowed: warn"),
        ("[spike]", "quality: was ['spike']; allowed: a mapping"),
        ("{1: 2}", "there is no code '1'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_what_can(write: Write, text: str, said: str) -> None:
    answer = refused(write(MINIMAL + f"quality: {text}\n"))
    assert "c.yaml:11: quality: " in answer
    assert said in answer
