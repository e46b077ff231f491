class Error(Exception):
    """What every function of mizzen raises.

    code: a lower-case name for programs ("not_found", "invalid_argument", "resource_exhausted" ...),
    subject: the field or thing concerned, message: what is wrong and, where there is one, what mends it.
    """

    def __init__(self, code: str, subject: str, message: str) -> None:
        super().__init__(f"{subject}: {message}" if subject else message)
        self.code = code
        self.subject = subject
        self.message = message

    def __reduce__(self) -> tuple[type["Error"], tuple[str, str, str]]:
        return type(self), (self.code, self.subject, self.message)
