"""What OpenSSL is told in place of the pass phrase of a private key."""


def nobody_says_it() -> str:
    """Raises `OSError`. Without this OpenSSL would ask on the terminal that the server was started from, and everything
    would wait for an answer, also when a renewed key is taken up."""
    raise OSError("the key has a pass phrase: take it off, with openssl pkey -in key.pem -out plain.pem")
