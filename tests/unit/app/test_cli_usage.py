"""What is said of a command line that cannot be: one line, and whose help to ask for."""

import pytest

from landline.app import cli


@pytest.mark.parametrize(
    ("arguments", "whose"),
    [
        ("nope", "landline"),
        ("--foo", "landline"),
        ("dev --port x", "landline dev"),
        ("subscription nope", "landline subscription"),
        ("subscription add", "landline subscription add"),
        ("subscription add --nmae x", "landline subscription add"),
        ("message send --from", "landline message send"),
    ],
)
def test_the_help_that_is_named_is_that_of_the_command(
    arguments: str, whose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments.split())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(f" Try: {whose} --help\n")
    cli_help = [*whose.split()[1:], "--help"]
    with pytest.raises(SystemExit) as shown:
        cli.main(cli_help)
    assert shown.value.code == 0
    assert f"Usage: {whose}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("smpp-account create shop", "parameter --password-file is missing. Try: "),
        ("message send", "parameter --to is missing. Try: "),
        ("message send --from", "--from requires an argument"),
        ("subscription add --nmae x", "is missing. Did you mean --name instead of --nmae?"),
    ],
)
def test_what_is_missing_is_said_to_be(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments.split())
    assert said in capsys.readouterr().err
