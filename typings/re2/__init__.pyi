# What we use of google-re2, whose package carries no types.
class error(Exception): ...

class Options:
    max_mem: int
    log_errors: bool
    never_capture: bool

class _Match: ...

class _Regexp:
    programsize: int
    def search(self, text: str) -> _Match | None: ...

def compile(pattern: str, options: Options | None = ...) -> _Regexp: ...
