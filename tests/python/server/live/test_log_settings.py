import pytest

from fastserve.errors import Error
from fastserve.server.live.log_settings import changed, shown
from fastserve.server.logs import LogSettings


def test_all_are_shown():
    assert shown(LogSettings(info=False, verbose_level=3, has_iso_times=True)) == {
        "log_file": "",
        "log_info": False,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 3,
        "log_format": "ISO8601",
    }


def test_what_is_named_is_changed_and_nothing_else():
    settings = changed(
        LogSettings(),
        {"log_warning": False, "log_verbose_level": 2, "log_format": "ISO8601"},
        is_json=False,
    )
    assert settings == LogSettings(warning=False, verbose_level=2, has_iso_times=True)
    assert changed(settings, {"log_format": "default"}, is_json=False).has_iso_times is False
    assert changed(settings, {}, is_json=False) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_inof": True}, "there is no log setting 'log_inof'; did you mean 'log_info'?"),
        ({"x" * 500: True}, f"there is no log setting '{'x' * 100}'; there is log_file, log_info"),
        ({"log_info": 1}, "log_info: expected true or false, found 1"),
        ({"log_error": "true"}, "log_error: expected true or false, found 'true'"),
        ({"log_verbose_level": True}, "log_verbose_level: expected a number from 0, found True"),
        ({"log_verbose_level": -1}, "log_verbose_level: expected a number from 0, found -1"),
        ({"log_verbose_level": 2**32}, "log_verbose_level: expected a number from 0"),
        ({"log_verbose_level": None}, "log_verbose_level: expected a number from 0, found None"),
        ({"log_format": "iso"}, 'log_format: expected "default" or "ISO8601", found \'iso\''),
        ({"log_format": ["ISO8601"]}, 'log_format: expected "default" or "ISO8601"'),
        ({"log_file": "/etc/passwd"}, "log_file cannot be changed while the server runs"),
    ],
)
def test_what_is_wrong_is_said(changes, message):
    with pytest.raises(Error) as caught:
        changed(LogSettings(), {"log_warning": False, **changes}, is_json=False)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith(message)


def test_json_always_says_when_in_full():
    with pytest.raises(Error, match="start the server with --log-format text"):
        changed(LogSettings(has_iso_times=True), {"log_format": "default"}, is_json=True)
