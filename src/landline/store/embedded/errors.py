"""Why an embedded PostgreSQL cannot run: each message is one line for the operator and says what to do."""

from landline.core.errors import Refusal


class CannotRun(Refusal):
    """PostgreSQL cannot be found, or not be run on this machine as it stands."""

    code = "PostgresCannotRun"


class OtherMajor(CannotRun):
    """The data directory belongs to a major version of PostgreSQL that is not here."""

    code = "PostgresOtherMajor"


class DirectoryTaken(Refusal):
    """Another process runs on this directory."""

    code = "DirectoryTaken"
