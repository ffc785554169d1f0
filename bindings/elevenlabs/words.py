"""Text that comes cut anywhere -> whole words, each followed by a space, as the service wants them."""

_ENDS = tuple(".!?…,;:。！？、，；：")


class WholeWords:
    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """What is whole by now; what may be half a word is kept back."""
        text = self._rest + text
        if text.endswith(_ENDS) and not text[-2:-1].isdigit():  # "3." may become "3.14"
            self._rest = ""
            return text + " "
        cut = next((at for at in range(len(text), 0, -1) if text[at - 1].isspace()), 0)
        self._rest = text[cut:]
        return text[:cut]

    def end(self) -> str:
        rest, self._rest = self._rest, ""
        return f"{rest} " if rest.strip() else ""
