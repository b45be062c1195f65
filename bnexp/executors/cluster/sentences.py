"""What Ray has to say, in short: its messages run over many lines."""


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's message, or its name where it has none."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0].partition(". ")[0].rstrip(".")
