import pytest

from app.config import Settings, SettingsError, load_settings, profiles


def test_a_flag_beats_the_environment_which_beats_the_profile_which_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().drain_delay_ms == 0
    monkeypatch.setenv("SENTIMENT_PROFILE", "prod")
    assert load_settings().drain_delay_ms == 5000
    monkeypatch.setenv("SENTIMENT_DRAIN_DELAY_MS", "100")
    assert load_settings().drain_delay_ms == 100
    assert load_settings({"drain_delay_ms": "7"}).drain_delay_ms == 7
    assert load_settings({"profile": "dev"}).log_format == "console"


@pytest.mark.parametrize("name", profiles())
def test_every_profile_is_valid(name: str) -> None:
    assert load_settings({"profile": name}).profile == name


def test_there_are_two_profiles() -> None:
    assert profiles() == ["dev", "prod"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "SENTIMENT_PORT: .*integer"),
        ("PORT", "70000", "SENTIMENT_PORT: .*65535"),
        ("BACKEND", "tensorrt", "SENTIMENT_BACKEND: .*'onnx'"),
        ("PROFILE", "staging", "SENTIMENT_PROFILE: .*'dev' or 'prod'"),
        ("CACHE_ENTRIES", "-1", "SENTIMENT_CACHE_ENTRIES"),
        ("CORS_ORIGINS", "example.com", "SENTIMENT_CORS_ORIGINS: 'example.com' is no origin"),
        ("CORS_ORIGINS", "https://a.example/path", "SENTIMENT_CORS_ORIGINS"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,nginx", "SENTIMENT_TRUSTED_PROXIES: 'nginx' does not appear to be"),
        ("ALLOWED_HOSTS", "a.example,http://b.example", "SENTIMENT_ALLOWED_HOSTS: 'http://b.example' is no host"),
        ("ALLOWED_HOSTS", "*.example", "SENTIMENT_ALLOWED_HOSTS"),
        ("API_KEYS_FOR_ALL", "true", "API_KEYS_FOR_ALL wants API_KEYS_FILE"),
        ("MAX_QUEUE_TEXTS", "10", "SENTIMENT_MAX_QUEUE_TEXTS must not be below MAX_BATCH_TEXTS"),
        ("PROT", "80", "unknown setting SENTIMENT_PROT"),
        ("MAX_WAIT_MS", "inf", "SENTIMENT_MAX_WAIT_MS: .*finite"),
        ("PORT", "tcp://10.0.0.1:80", "enableServiceLinks"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SENTIMENT_{name}", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


@pytest.mark.parametrize("other", [{"workers": 2}, {"backend": "onnx"}])
def test_backends_are_compared_by_one_process_that_may_choose(other: dict[str, object]) -> None:
    assert load_settings({"compare_backends": True}).compare_backends
    with pytest.raises(SettingsError, match="COMPARE_BACKENDS goes with BACKEND=auto, and with one worker"):
        load_settings({"compare_backends": True} | other)


def test_what_kubernetes_adds_for_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR"):
        monkeypatch.setenv(f"SENTIMENT_{name}", "10.0.0.1")
    assert load_settings().port == 8000


def test_several_wrong_settings_are_all_named() -> None:
    with pytest.raises(SettingsError, match=r"SENTIMENT_PORT.*; SENTIMENT_DEVICE"):
        load_settings({"port": "x", "device": "tpu"})


def test_origins_are_separated_by_commas() -> None:
    settings = load_settings({"cors_origins": "https://a.example, http://localhost:3000"})
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_PORT", "")
    assert load_settings().port == 8000


def test_a_list_is_emptied_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("trusted_proxies", "cors_origins", "allowed_hosts"):
        monkeypatch.setenv(f"SENTIMENT_{name.upper()}", "")
    settings = load_settings({"profile": "dev"})
    assert settings.trusted_proxies
    assert settings.cors_origins
    for name in ("trusted_proxies", "cors_origins", "allowed_hosts"):
        monkeypatch.setenv(f"SENTIMENT_{name.upper()}", "none")
    settings = load_settings({"profile": "dev"})
    assert settings.trusted_proxies == settings.cors_origins == settings.allowed_hosts == ()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
