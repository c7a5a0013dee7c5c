from pathlib import Path

import pytest

from app.config import Settings, SettingsError, choices, load_settings, profiles

CHOICES = {name: choices(name) for name in Settings.model_fields if choices(name)}
# Settings that may have other values, too.
CHOICES |= {"backend": ["auto", "onnx", "torch", "mock"], "rate_limit_storage": ["memory"]}


def test_flags_beat_the_environment_the_profile_and_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_port_of_a_platform_counts_if_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    assert load_settings().port == 5000
    assert load_settings({"profile": "prod"}).port == 5000
    assert load_settings({"port": 1}).port == 1
    monkeypatch.setenv("SENTIMENT_PORT", "6000")
    assert load_settings().port == 6000
    monkeypatch.delenv("SENTIMENT_PORT")
    for other in ("", "tcp://10.0.0.1:80", "-1"):  # of another program
        monkeypatch.setenv("PORT", other)
        assert load_settings().port == 8000
    monkeypatch.setenv("PORT", "65536")
    with pytest.raises(SettingsError, match="SENTIMENT_PORT"):
        load_settings()


def test_there_are_two_profiles() -> None:
    assert profiles() == ["dev", "prod"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "SENTIMENT_PORT: .*integer"),
        ("PORT", "70000", "SENTIMENT_PORT: .*65535"),
        ("BACKEND", "tensorrt", "SENTIMENT_BACKEND: expected auto, onnx, "),
        ("MODEL_DIGEST", "abc", "SENTIMENT_MODEL_DIGEST: expected the 64 hexadecimal digits of a sha256"),
        ("CACHE_SCOPE", "client", "SENTIMENT_CACHE_SCOPE: .*'shared' or 'key'"),
        ("PROFILE", "staging", "SENTIMENT_PROFILE: .*'dev' or 'prod'"),
        ("CACHE_ENTRIES", "-1", "SENTIMENT_CACHE_ENTRIES"),
        ("CORS_ORIGINS", "example.com", "SENTIMENT_CORS_ORIGINS: 'example.com' is not an origin"),
        ("CORS_ORIGINS", "https://a.example/path", "SENTIMENT_CORS_ORIGINS"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,nginx", "SENTIMENT_TRUSTED_PROXIES: 'nginx' does not appear to be"),
        ("ALLOWED_HOSTS", "a.example,http://b.example", "SENTIMENT_ALLOWED_HOSTS: 'http://b.example' is not a host"),
        ("ALLOWED_HOSTS", "*.example", "SENTIMENT_ALLOWED_HOSTS"),
        ("ALLOWED_HOSTS", "a.example:99999", "SENTIMENT_ALLOWED_HOSTS"),
        ("ROOT_PATH", "https://a.example/b", "SENTIMENT_ROOT_PATH: expected a path such as /sentiment"),
        ("ROOT_PATH", "//a.example", "SENTIMENT_ROOT_PATH: expected a path such as /sentiment"),
        ("API_KEYS_FOR_ALL", "true", "API_KEYS_FOR_ALL needs API_KEYS_FILE"),
        ("MAX_QUEUE_TEXTS", "10", "SENTIMENT_MAX_QUEUE_TEXTS must be at least MAX_BATCH_TEXTS"),
        ("MODELS_CACHE_BYTES", "1000", "SENTIMENT_MODELS_CACHE_BYTES: .*1048576"),
        ("MODELS_POLL_S", "0", "SENTIMENT_MODELS_POLL_S: .*greater than 0"),
        ("GOLDEN_INTERVAL_S", "-1", "SENTIMENT_GOLDEN_INTERVAL_S: .*greater than or equal to 0"),
        ("GOLDEN_AGREEMENT", "90", "SENTIMENT_GOLDEN_AGREEMENT: .*less than or equal to 1"),
        ("MEMORY_LIMIT_BYTES", "-1", "SENTIMENT_MEMORY_LIMIT_BYTES: .*greater than or equal to 0"),
        ("PROT", "80", "unknown setting SENTIMENT_PROT"),
        ("MAX_WAIT_MS", "inf", "SENTIMENT_MAX_WAIT_MS: .*finite"),
        ("PORT", "tcp://10.0.0.1:80", "enableServiceLinks"),
        ("RATE_LIMIT", "often", "SENTIMENT_RATE_LIMIT"),
        ("RATE_LIMIT", "10/second;1000/hour", "SENTIMENT_RATE_LIMIT"),
        ("RATE_LIMIT", "0/minute", "SENTIMENT_RATE_LIMIT"),
        ("RATE_LIMIT_STORAGE", "mysql://a", "SENTIMENT_RATE_LIMIT_STORAGE"),
        ("CACHE_REDIS_URL", "mysql://a", "SENTIMENT_CACHE_REDIS_URL: expected redis://"),
        (
            "CACHE_REDIS_URL",
            "redis://:pass/word@a",
            "SENTIMENT_CACHE_REDIS_URL: the address is not valid; in a password",
        ),
        ("REDIS_URL", "redis://a:port", "SENTIMENT_REDIS_URL: the address is not valid"),
        ("TLS_CERT_FILE", "cert.pem", "TLS_CERT_FILE and TLS_KEY_FILE must be set together"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SENTIMENT_{name}", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


@pytest.mark.parametrize("other", [{"workers": 2}, {"backend": "onnx"}])
def test_comparing_backends_needs_one_worker_and_an_open_choice(other: dict[str, object]) -> None:
    assert load_settings({"compare_backends": True}).compare_backends
    with pytest.raises(SettingsError, match="COMPARE_BACKENDS needs BACKEND=auto and one worker"):
        load_settings({"compare_backends": True} | other)


def test_with_a_models_file_digests_are_stated_there() -> None:
    with pytest.raises(SettingsError, match="MODEL_DIGEST is for one model; in the models file"):
        load_settings({"models_file": "models.yaml", "model_digest": "0" * 64})


@pytest.mark.parametrize("value", ["A" * 64, "sha256:" + "a" * 64, f" SHA256:{'a' * 64} "])
def test_a_digest_may_have_the_form_that_info_shows(value: str) -> None:
    assert load_settings({"model_digest": value}).model_digest == "a" * 64
    with pytest.raises(SettingsError, match="MODEL_DIGEST cannot be checked with BACKEND=mock"):
        load_settings({"model_digest": value, "backend": "mock"})


def test_variables_that_kubernetes_adds_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR"):
        monkeypatch.setenv(f"SENTIMENT_{name}", "10.0.0.1")
    assert load_settings().port == 8000


def test_all_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match=r"SENTIMENT_PORT.*; SENTIMENT_DEVICE"):
        load_settings({"port": "x", "device": "tpu"})


def test_settings_with_choices_are_known() -> None:
    assert CHOICES.keys() == {
        "profile", "device", "precision", "depth", "cache_scope", "log_format", "log_level", "backend",
        "rate_limit_storage",
    }  # fmt: skip
    assert CHOICES["log_level"] == ["debug", "info", "warning", "error"]
    assert choices("port") == choices("host") == choices("compare_backends") == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
@pytest.mark.parametrize("spelling", ["{0}", " {0}\t", "{1}", " {2} "])
def test_a_choice_may_be_written_in_any_case(
    name: str, value: str, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = spelling.format(value, value.upper(), value.title())
    assert getattr(load_settings({name: written}), name) == value
    monkeypatch.setenv(f"SENTIMENT_{name.upper()}", written)
    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize("profile", ["prod", "PROD", " Prod "])
def test_a_profile_is_read_however_its_name_is_written(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings({"profile": profile}).drain_delay_ms == 5000
    monkeypatch.setenv("SENTIMENT_PROFILE", profile)
    assert load_settings().drain_delay_ms == 5000


def test_the_values_of_a_profile_may_be_in_any_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev.yaml").write_text("log_level: DEBUG\nlog_format: ' Console '\nbackend: Mock\n")
    monkeypatch.setattr("app.config.PROFILES", tmp_path)
    settings = load_settings({"profile": "DEV"})
    assert (settings.log_level, settings.log_format, settings.backend) == ("debug", "console", "mock")


def test_spaces_around_other_values_do_not_matter() -> None:
    written = {
        "host": " ::1 ", "port": " 80 ", "api_keys_for_all": " False ", "tls_cert_file": " a ", "tls_key_file": "b\n"
    }  # fmt: skip
    settings = load_settings(written)
    assert (settings.host, settings.port, settings.api_keys_for_all) == ("::1", 80, False)
    assert (str(settings.tls_cert_file), str(settings.tls_key_file)) == ("a", "b")


def test_values_that_are_no_choices_keep_their_case() -> None:
    settings = load_settings({"backend": " My.Package:Backend ", "model": "Owner/Name@Main"})
    assert (settings.backend, settings.model) == ("My.Package:Backend", "Owner/Name@Main")
    storage = load_settings({"rate_limit_storage": "REDIS://Host:6379/Name"}).rate_limit_storage
    assert storage == "redis://Host:6379/Name"


@pytest.mark.parametrize(
    ("written", "host"), [("[::]", "::"), ("[::1]", "::1"), ("::", "::"), ("localhost", "localhost")]
)
def test_an_ipv6_address_may_be_in_brackets(written: str, host: str) -> None:
    assert load_settings({"host": written}).host == host


def test_origins_are_written_as_browsers_send_them() -> None:
    assert load_settings({"cors_origins": "HTTPS://A.Example"}).cors_origins == ("https://a.example",)


def test_origins_are_separated_by_commas() -> None:
    settings = load_settings({"cors_origins": "https://a.example, http://localhost:3000"})
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize("value", ["api/v1", "/api/v1", "/api/v1/", "api/v1/"])
def test_a_root_path_may_have_slashes_around_it(value: str) -> None:
    assert load_settings({"root_path": value}).root_path == "/api/v1"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_PORT", "")
    assert load_settings().port == 8000


def test_none_empties_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_keys_of_models_are_a_list_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().models_keys == ()
    monkeypatch.setenv("SENTIMENT_MODELS_KEYS", "keys/release.pub, /etc/other.pub")
    assert load_settings().models_keys == (Path("keys/release.pub"), Path("/etc/other.pub"))
    monkeypatch.setenv("SENTIMENT_MODELS_KEYS", "none")
    assert load_settings().models_keys == ()
